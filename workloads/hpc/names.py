"""Which workloads are programs and not networks; nothing heavy is loaded to tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from workloads.shipped import FOLDER, shipped_workloads

KIND: Final = re.compile(r"^kind\s*:\s*(\w*)", re.MULTILINE)
EXTENDS: Final = re.compile(r"^extends\s*:\s*['\"]?([^\s'\"#]+)", re.MULTILINE)
LONGEST_CHAIN: Final = 16
"""Files, one extending the next, that are looked into; whoever loads them says if they go round in a circle."""


def shipped_programs() -> dict[str, Path]:
    """Name and file of every program that comes with the package."""
    return {name: path for name, path in shipped_workloads().items() if program_kind(name) is not None}


def is_program(name_or_path: str) -> bool:
    """True for a program that comes with the package, and for a YAML file that says of which kind it is."""
    return program_kind(name_or_path) is not None


def program_kind(name_or_path: str) -> str | None:
    """The key ``kind`` of a workload, or of one that it extends; None for networks and for what is not there."""
    path = _file(name_or_path, Path())
    for _ in range(LONGEST_CHAIN):
        if path.suffix not in (".yaml", ".yml") or not path.is_file():
            return None
        text = path.read_text(encoding="utf-8", errors="replace")
        if (kind := KIND.search(text)) is not None:
            return kind[1]
        if (base := EXTENDS.search(text)) is None:
            return None
        path = _file(base[1], path.parent)
    return None


def _file(name: str, folder: Path) -> Path:
    shipped = FOLDER / f"{name}.yaml"
    return shipped if shipped.is_file() else folder / name
