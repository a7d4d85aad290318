"""Machines by name or file: read, extended, changed by settings, checked, described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from machine_configs import shipped_files
from sim.document import Document, apply_settings, read_document
from sim.machine.checks import contradictions
from sim.machine.convert import machine_spec
from sim.machine.parameter import Parameter, parameters
from sim.machine.schema import MachineFile
from sim.machine.spec import MachineSpec
from sim.named_files import find_file
from sim.problems import BadInput
from sim.schema_walk import alternatives, is_leaf
from sim.validation import validate
from sim.yaml_file import KeyPath

MANY_CORE = "many_core"
SET_ON_COMMAND_LINE = "set on the command line"


@dataclass(frozen=True, kw_only=True)
class LoadedMachine:
    """A machine's description together with every parameter as it was written."""

    spec: MachineSpec
    parameters: tuple[Parameter, ...]


def list_machines() -> tuple[str, ...]:
    """The names of the machines that come with the package."""
    return tuple(shipped_files())


def load_machine(name_or_path: str | Path, overrides: Sequence[str] = ()) -> MachineSpec:
    """The machine of a shipped name or of a machine file, changed by settings such as ``processor.cpe.ldm=128KiB``.

    Raises BadInput with every problem found.
    """
    path, file = _read(name_or_path, overrides)
    return machine_spec(file, name=path.stem)


def read_machine(name_or_path: str | Path, overrides: Sequence[str] = ()) -> LoadedMachine:
    """As :func:`load_machine`, with the list of parameters and their sources."""
    path, file = _read(name_or_path, overrides)
    return LoadedMachine(spec=machine_spec(file, name=path.stem), parameters=tuple(parameters(file)))


def _read(name_or_path: str | Path, overrides: Sequence[str]) -> tuple[Path, MachineFile]:
    shipped = shipped_files()
    path = find_file(name_or_path, shipped=shipped, noun="machines")
    document = _with_kinds(read_document(path, named=shipped, whole=_stands_alone))
    document = _leaves_filled(apply_settings(document, overrides, model=MachineFile, noun="machine"))
    file = validate(document, MachineFile)
    problems = list(contradictions(file, document=document))
    if problems:
        raise BadInput(problems)
    return path, file


def _stands_alone(mapping: Mapping[str, Any]) -> bool:
    """Whether a mapping replaces what it extends: numbers do, and sections of a kind, whose keys depend on it."""
    return "value" in mapping or "kind" in mapping


def _with_kinds(document: Document) -> Document:
    """The kind of processor where a file does not say it: a chip of core groups; power is of the same kind."""
    data = dict(document.data)
    kind = MANY_CORE
    for section in ("processor", "power"):
        keys = data.get(section)
        if isinstance(keys, dict):
            data[section] = {"kind": kind, **keys}
            kind = data[section]["kind"]
    return replace(document, data=data)


def _leaves_filled(document: Document) -> Document:
    """Leaves given as a plain value become mappings whose source says who set them.

    A file that extends another may omit sources; a file that stands alone may not.
    """
    data = _filled(document.data, MachineFile, (), document=document)
    return replace(document, data=data)


def _filled(data: Mapping[str, Any], model: type[BaseModel], path: KeyPath, *, document: Document) -> dict[str, Any]:
    result = dict(data)
    for key, value in data.items():
        annotation = model.model_fields[key].annotation if key in model.model_fields else None
        here = (*path, key)
        if is_leaf(annotation):
            result[key] = _leaf(value, here, document=document)
        elif isinstance(value, dict):
            section = _section(annotation, value)
            if section is not None:
                result[key] = _filled(value, section, here, document=document)
    return result


def _section(annotation: Any, value: Mapping[str, Any]) -> type[BaseModel] | None:
    """The model of a section; where it may be of several kinds, the one that ``value`` names."""
    sections = [each for each in alternatives(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
    if len(sections) > 1:
        kind = value.get("kind")
        sections = [each for each in sections if kind in get_args(each.model_fields["kind"].annotation)]
    return sections[0] if sections else None


def _leaf(value: object, path: KeyPath, *, document: Document) -> object:
    origin = document.origin(path)
    if origin.setting:
        return {"value": value, "source": SET_ON_COMMAND_LINE}
    if not document.bases:
        return value
    source = {"source": f"set in {Path(origin.file).name}"}
    return {**source, **value} if isinstance(value, dict) else {"value": value, **source}
