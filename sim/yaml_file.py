"""One YAML file as plain data with the line of every key.

Plain scalars follow YAML 1.2: only true and false are booleans, ``1e9`` is a number, ``no`` and dates are text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sim.problems import BadInput, Problem

KeyPath = tuple[str | int, ...]

MOST_NODES = 100_000
MOST_DEPTH = 100
BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
NULL = re.compile(r"|~|null|Null|NULL")
INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
REAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
SPECIAL_REAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclass(frozen=True, kw_only=True)
class YamlFile:
    """The content of one file: plain data, and the 1-based line on which each key path stands."""

    data: Mapping[str, Any]
    lines: Mapping[KeyPath, int]


def read_yaml(path: Path, *, shown_as: str | None = None) -> YamlFile:
    """Read a YAML file whose top level is a mapping.

    Raises BadInput when the file is missing, unreadable, not UTF-8, not YAML, has a key twice, or is no mapping.
    """
    file = str(path) if shown_as is None else shown_as
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise _bad(file, "a file that exists") from None
    except IsADirectoryError:
        raise _bad(file, "a file, not a folder") from None
    except OSError as error:
        raise _bad(file, f"a readable file ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _bad(file, "text in UTF-8", line=line) from None
    return _composed(text, file)


@lru_cache(maxsize=64)
def _composed(text: str, file: str) -> YamlFile:
    """The content of a text: machines and tables are asked for again and again, and readers copy what they change."""
    try:
        root = _compose(text)
        walk = _Walk(file=file)
        data = walk.value(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _bad(file, f"valid YAML: {error.problem}", line=mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "reason", "unreadable")
        raise _bad(file, f"valid YAML: {reason}") from None
    if not isinstance(root, MappingNode):
        raise _bad(file, "a mapping of keys to values")
    if walk.problems:
        raise BadInput(walk.problems)
    return YamlFile(data=data, lines=walk.lines)


def _compose(text: str) -> Node | None:
    """The nodes of a YAML text, read by libyaml where PyYAML has it: some ten times as fast as in Python.

    Raises yaml.YAMLError in the words of PyYAML's own reader, and RecursionError.
    """
    try:
        return _nodes(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return _nodes(text, yaml.SafeLoader)


def _nodes(text: str, loader: type[yaml.SafeLoader]) -> Node | None:
    root: Node | None = yaml.compose(text, Loader=loader)
    return root


def parse_scalar(text: str) -> object:
    """A plain scalar as YAML 1.2 reads it: null, boolean, whole number, real number, otherwise the text itself."""
    if NULL.fullmatch(text):
        return None
    if BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if INTEGER.fullmatch(text) and len(text) < 1000:
        return int(text)
    if REAL.fullmatch(text):
        return float(text)
    if SPECIAL_REAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def parse_value(text: str) -> object:
    """A value given on the command line: a scalar, quoted text, or a list or mapping in flow style.

    Raises ValueError when it is not one of these.
    """
    text = text.strip()
    if not text.startswith(("[", "{", "'", '"')):
        return parse_scalar(text)
    try:
        walk = _Walk(file="")
        value = walk.value(_compose(text), ())
    except (yaml.YAMLError, RecursionError):
        raise ValueError("a value as in a YAML file") from None
    if walk.problems:
        raise ValueError(walk.problems[0].expected)
    return value


@dataclass
class _Walk:
    """Turns nodes into plain data, noting lines and problems on the way.

    Raises RecursionError beyond ``MOST_DEPTH`` levels.
    """

    file: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    nodes: int = 0
    open_nodes: list[Node] = field(default_factory=list)

    def value(self, node: Node | None, path: KeyPath) -> Any:
        self.nodes += 1
        if node is None:
            return None
        if self.nodes > MOST_NODES or any(node is parent for parent in self.open_nodes):
            self._problem(node, path, "values that end (an alias repeats too much)")
            return None
        if len(self.open_nodes) > MOST_DEPTH:
            raise RecursionError
        if not node.tag.startswith("tag:yaml.org,2002:") or "python/" in node.tag:
            self._problem(node, path, f"plain YAML, without the tag {node.tag}")
            return None
        if isinstance(node, ScalarNode):
            return parse_scalar(node.value) if not node.style else node.value
        self.open_nodes.append(node)
        value: Any = None
        if isinstance(node, SequenceNode):
            value = [self._item(child, (*path, index)) for index, child in enumerate(node.value)]
        elif isinstance(node, MappingNode):
            value = self._mapping(node, path)
        self.open_nodes.pop()
        return value

    def _item(self, node: Node, path: KeyPath) -> Any:
        self.lines[path] = node.start_mark.line + 1
        return self.value(node, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, child in node.value:
            if not isinstance(key_node, ScalarNode):
                self._problem(key_node, path, "plain text as a key")
                continue
            child_path = (*path, key_node.value)
            if key_node.value in result:
                self._problem(key_node, child_path, f"each key once (first on line {self.lines[child_path]})")
                continue
            self.lines[child_path] = key_node.start_mark.line + 1
            result[key_node.value] = self.value(child, child_path)
        return result

    def _problem(self, node: Node, path: KeyPath, expected: str) -> None:
        key = ".".join(str(part) for part in path)
        line = node.start_mark.line + 1
        self.problems.append(Problem(file=self.file, key=key, value=None, expected=expected, line=line))


def _bad(file: str, expected: str, *, line: int | None = None) -> BadInput:
    return BadInput([Problem(file=file, key="", value=None, expected=expected, line=line)])
