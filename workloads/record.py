"""The record of a run: machine, workload, mapping and seed, and what came out. All reports read records."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from sim.document import Document
from sim.problems import BadInput, Problem
from sim.validation import validate
from workloads.files import replaced
from workloads.record_schema import SCHEMA, InferRecord, Kind, RecordFields, TrainRecord

HOST = "host_"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run and its result. ``machine``, ``workload`` and ``mapping`` are their whole descriptions as plain data.

    ``result`` is the object that ``taihusim train --json`` or ``taihusim infer --json`` prints.
    """

    kind: Kind
    version: str
    seed: int
    machine: Mapping[str, Any]
    workload: Mapping[str, Any]
    mapping: Mapping[str, Any]
    result: Mapping[str, Any]


def save_record(record: RunRecord, path: Path) -> None:
    """Write the record as JSON, whole or not at all, its fields always in the same order.

    Raises BadInput when a field of the result is missing or of the wrong kind; OSError as writing does.
    """
    data = _checked({"schema": SCHEMA, **as_plain(record)}, file=str(path))
    text = json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False)
    with replaced(path) as file:
        file.write(text.encode() + b"\n")


def load_record(path: Path) -> RunRecord:
    """Read a record. Raises BadInput when the file is missing, cut off, of another schema or lacks a field."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise _bad(path, "a file that exists") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _bad(path, f"a readable JSON file ({error})") from None
    if not isinstance(data, dict) or "schema" not in data:
        raise _bad(path, "a run record: a JSON object with the field schema")
    if data["schema"] != SCHEMA:
        expected = f"{SCHEMA}, the version of records this program reads"
        raise BadInput([Problem(file=str(path), key="schema", value=data["schema"], expected=expected)])
    checked = _checked(data, file=str(path))
    return RunRecord(**{field.name: checked[field.name] for field in fields(RunRecord)})


def without_host_times(data: Any) -> Any:
    """Plain data without the fields that begin with ``host_``: the same for the same run on any computer."""
    if isinstance(data, Mapping):
        return {key: without_host_times(value) for key, value in data.items() if not key.startswith(HOST)}
    if isinstance(data, list | tuple):
        return [without_host_times(value) for value in data]
    return data


def as_plain(value: Any) -> Any:
    """Dataclasses, NumPy numbers, arrays, paths and so on as JSON knows them; numbers that are not finite as None.

    Raises TypeError for what JSON has no form for.
    """
    if value is None or isinstance(value, str | bool | int):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.generic | np.ndarray):
        return as_plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return as_plain(value.value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_plain(child) for key, child in value.items()}
    if isinstance(value, Sequence):
        return [as_plain(child) for child in value]
    raise TypeError(f"a record cannot hold {type(value).__name__}")


def _checked(data: Mapping[str, Any], *, file: str) -> dict[str, Any]:
    """The data in the order of the schema. Raises BadInput with every problem found."""
    models: dict[Any, type[RecordFields]] = {"train": TrainRecord, "infer": InferRecord}
    model = models.get(data.get("kind"))
    if model is None:
        raise BadInput([Problem(file=file, key="kind", value=data.get("kind"), expected="train or infer")])
    checked: RecordFields = validate(Document(file=file, data=data, origins={}), model)
    return checked.model_dump(by_alias=True)


def _bad(path: Path, expected: str) -> BadInput:
    return BadInput([Problem(file=str(path), key="", value=None, expected=expected)])
