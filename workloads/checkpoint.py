"""Checkpoints: everything an interrupted run needs to go on as if nothing had happened. And weights alone."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.problems import BadInput, Problem
from workloads.files import replaced
from workloads.record import as_plain

Array = npt.NDArray[Any]
DESCRIPTION = "description"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """The state of a run after ``step`` steps.

    ``parameters`` are the model's arrays by name. ``optimizer`` holds arrays, numbers and text in mappings and lists
    of any depth. ``stream`` is what ``SampleStream.state`` gave, ``curve`` the points so far. ``key`` names the run.
    """

    key: str
    step: int
    parameters: Mapping[str, Array]
    optimizer: Mapping[str, Any]
    stream: Mapping[str, int]
    curve: Sequence[Mapping[str, Any]]


def run_key(**parts: Any) -> str:
    """A name for a run from all that decides its numbers (descriptions, seed, nodes), in hexadecimal.

    Raises TypeError for parts that are no plain data.
    """
    text = json.dumps(as_plain(parts), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the checkpoint, whole or not at all: the one before stays until this one is complete.

    Raises OSError as writing does; TypeError for an optimiser state that cannot be written.
    """
    _save(vars(checkpoint), path)


def load_checkpoint(path: Path, *, key: str | None = None) -> Checkpoint:
    """Read a checkpoint. Every array comes back bit for bit.

    Raises BadInput when the file is missing or damaged, or when ``key`` is given and the file is of another run.
    """
    state = _load(path)
    if set(state) != set(Checkpoint.__dataclass_fields__):
        raise _bad(path, "a checkpoint of a training run")
    if key is not None and state["key"] != key:
        raise _bad(path, "a checkpoint of this run; it is of a run with another machine, workload, mapping or seed")
    return Checkpoint(**state)


def save_weights(parameters: Mapping[str, Array], path: Path) -> None:
    """Write a model's arrays by name, whole or not at all. Raises OSError as writing does."""
    _save({"parameters": dict(parameters)}, path)


def load_weights(path: Path) -> dict[str, Array]:
    """The arrays of a file of weights or of a checkpoint, by name. Raises BadInput when it is missing or damaged."""
    parameters = _load(path).get("parameters")
    if not isinstance(parameters, dict):
        raise _bad(path, "a file of weights or a checkpoint")
    return parameters


def weights_sha256(parameters: Mapping[str, Array]) -> str:
    """A fingerprint of weights: SHA-256 over names, types, shapes and values, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(parameters):
        array = np.ascontiguousarray(parameters[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _save(state: Mapping[str, Any], path: Path) -> None:
    arrays: dict[str, Array] = {}
    description = {"schema": SCHEMA, "state": _described(state, arrays)}
    arrays[DESCRIPTION] = np.frombuffer(json.dumps(description).encode(), dtype=np.uint8)
    with replaced(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise _bad(path, "a file that exists")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            description = json.loads(file[DESCRIPTION].tobytes())
            arrays = {name: file[name] for name in file.files if name != DESCRIPTION}
        schema, state = description["schema"], _restored(description["state"], arrays)
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile, zlib.error):
        raise _bad(path, "a whole file written by taihusim") from None
    if schema != SCHEMA or not isinstance(state, dict):
        raise _bad(path, f"schema {SCHEMA}, the version this program reads")
    return state


def _bad(path: Path, expected: str) -> BadInput:
    return BadInput([Problem(file=str(path), key="", value=None, expected=expected)])


def _described(value: Any, arrays: dict[str, Array]) -> Any:
    """Plain data with every array replaced by its name in ``arrays``."""
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, Mapping):
        return {"map": {str(key): _described(child, arrays) for key, child in value.items()}}
    if isinstance(value, list | tuple):
        return {"list": [_described(child, arrays) for child in value]}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return {"value": value}
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__}")


def _restored(description: Mapping[str, Any], arrays: Mapping[str, Array]) -> Any:
    ((kind, content),) = description.items()
    match kind:
        case "array":
            return arrays[content]
        case "map":
            return {key: _restored(child, arrays) for key, child in content.items()}
        case "list":
            return [_restored(child, arrays) for child in content]
        case _:
            return content
