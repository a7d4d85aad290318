"""The file boundary: YAML documents with ``extends`` and command-line settings, each value knowing its origin.

A document is read, merged with the documents it extends, changed by settings, and validated against a pydantic
model by :mod:`sim.validation`, which reports all problems at once, as BadInput.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sim.problems import BadInput, Problem, nearest
from sim.schema_walk import known_keys, step_into
from sim.yaml_file import KeyPath, parse_value, read_yaml

EXTENDS = "extends"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a value was written: a file and line, or a command-line setting."""

    file: str
    line: int | None = None
    setting: bool = False


@dataclass(frozen=True, kw_only=True)
class Document:
    """Plain data with the origin of every key path.

    ``bases`` are the files of the documents it extends, nearest first. ``problems`` are those found so far; validation
    raises them together with its own.
    """

    file: str
    data: Mapping[str, Any]
    origins: Mapping[KeyPath, Origin]
    bases: tuple[Path, ...] = ()
    problems: tuple[Problem, ...] = ()

    def origin(self, path: KeyPath) -> Origin:
        """The origin of a key path, or of the closest enclosing one that was written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return Origin(file=self.file)

    def problem(self, path: KeyPath, *, expected: str, value: object = None, nearest: str | None = None) -> Problem:
        """A problem at a key path, with the file and line the value came from."""
        origin = self.origin(path)
        return Problem(
            file=origin.file,
            line=origin.line,
            key=dotted(path),
            value=value,
            expected=expected,
            nearest=nearest,
        )


def dotted(path: KeyPath) -> str:
    """The key path as the user writes it: ``processor.cpe.ldm``, ``layers.0.units``."""
    return ".".join(str(part) for part in path)


def read_document(
    path: Path,
    *,
    named: Mapping[str, Path] | None = None,
    whole: Callable[[Mapping[str, Any]], bool] = lambda _: False,
) -> Document:
    """Read a document and everything it extends.

    ``named`` maps the names that ``extends`` may use to files; anything with a suffix is a path, relative to the
    extending file. Mappings are merged key by key, except those for which ``whole`` holds, which replace what they
    extend. Raises BadInput for an unreadable file, an unknown base or a cycle.
    """
    return _read_chain(path, named=named or {}, whole=whole, seen=())


def apply_settings(document: Document, settings: Sequence[str], *, model: type[BaseModel], noun: str) -> Document:
    """Apply settings such as ``processor.cpe.ldm=128KiB``, the later ones winning.

    The value is read like a YAML scalar or flow list. ``noun`` is the prefix the user typed (``machine``) and appears
    in problems. A setting that has no ``=`` or names an unknown key becomes one of the document's problems.
    """
    data, origins = _copied(document.data), dict(document.origins)
    problems: list[Problem] = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        where = f"--set {noun}.{setting}"
        if not equals or not key.strip():
            expected = f"{noun}.KEY=VALUE"
            problems.append(Problem(file=where, key="", value=None, expected=expected))
            continue
        names = key.strip().split(".")
        path, problem = _located(names, data=data, model=model, where=where)
        try:
            value = parse_value(text)
        except ValueError as error:
            problem = Problem(file=where, key=dotted(tuple(names)), value=text, expected=str(error))
        if problem is not None:
            problems.append(problem)
            continue
        _place(data, path, value)
        for known in [each for each in origins if each[: len(path)] == path]:
            del origins[known]
        origins[path] = Origin(file=where, setting=True)
    return replace(document, data=data, origins=origins, problems=(*document.problems, *problems))


def _read_chain(
    path: Path,
    *,
    named: Mapping[str, Path],
    whole: Callable[[Mapping[str, Any]], bool],
    seen: tuple[Path, ...],
) -> Document:
    file = read_yaml(path)
    origins = {key: Origin(file=str(path), line=line) for key, line in file.lines.items()}
    document = Document(file=str(path), data=file.data, origins=origins)
    if EXTENDS not in file.data:
        return document
    base_path = _base_path(document, path, named=named)
    chain = (*seen, path.resolve())
    if base_path.resolve() in chain:
        names = " -> ".join(each.name for each in (*chain, base_path.resolve()))
        raise BadInput([document.problem((EXTENDS,), expected=f"no cycle ({names})")])
    base = _read_chain(base_path, named=named, whole=whole, seen=chain)
    own = {key: value for key, value in file.data.items() if key != EXTENDS}
    del origins[(EXTENDS,)]
    data, merged = _copied(base.data), dict(base.origins)
    _merge(data, own, (), whole=whole, origins=merged, own_origins=origins)
    bases = (base_path, *base.bases)
    return Document(file=str(path), data=data, origins=merged, bases=bases)


def _base_path(document: Document, path: Path, *, named: Mapping[str, Path]) -> Path:
    name = document.data[EXTENDS]
    if isinstance(name, str) and name in named:
        return named[name]
    if not isinstance(name, str) or not name.endswith((".yaml", ".yml")):
        expected = f"one of {', '.join(sorted(named))}, or a path ending in .yaml"
        near = nearest(name, named) if isinstance(name, str) else None
        raise BadInput([document.problem((EXTENDS,), expected=expected, value=name, nearest=near)])
    base = path.parent / name
    if not base.is_file():
        raise BadInput([document.problem((EXTENDS,), expected="a file that exists", value=name)])
    return base


def _merge(
    data: dict[str, Any],
    own: Mapping[str, Any],
    path: KeyPath,
    *,
    whole: Callable[[Mapping[str, Any]], bool],
    origins: dict[KeyPath, Origin],
    own_origins: Mapping[KeyPath, Origin],
) -> None:
    for key, value in own.items():
        here = (*path, key)
        old = data.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not whole(value):
            _merge(old, value, here, whole=whole, origins=origins, own_origins=own_origins)
            continue
        for known in [each for each in origins if each[: len(here)] == here]:
            del origins[known]
        data[key] = _copied(value)
        origins.update({each: origin for each, origin in own_origins.items() if each[: len(here)] == here})


def _located(
    names: Sequence[str], *, data: Mapping[str, Any], model: type[BaseModel], where: str
) -> tuple[KeyPath, Problem | None]:
    """The key path that ``names`` means in the data, or the problem with it."""
    types: tuple[Any, ...] = (model,)
    current: Any = data
    path: KeyPath = ()
    for name in names:
        keys = known_keys(types, current)
        part: str | int = int(name) if isinstance(current, list) and name.isdecimal() else name
        if keys is not None and name not in keys:
            near = nearest(name, keys)
            problem = Problem(
                file=where,
                key=dotted((*path, name)),
                value=None,
                expected=f"one of the keys {', '.join(keys)}" if keys else f"{dotted(path)}=VALUE",
                nearest=None if near is None else dotted((*path, near)),
            )
            return path, problem
        types = step_into(types, part)
        if isinstance(current, list) and isinstance(part, int):
            current = current[part]
        else:
            current = current.get(name) if isinstance(current, dict) else None
        path = (*path, part)
    return path, None


def _place(data: dict[str, Any], path: KeyPath, value: object) -> None:
    current: Any = data
    for part in path[:-1]:
        if isinstance(current, dict) and not isinstance(current.get(str(part)), dict | list):
            current[str(part)] = {}
        current = current[part]
    current[path[-1]] = value


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_copied(child) for child in value]
    return value
