"""A shipped name or a file: how machines, workloads and mappings are found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sim.problems import BadInput, Problem, nearest


def shipped_files(folder: Path) -> dict[str, Path]:
    """Name and file of every YAML file in a folder of the package, sorted by name."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_file(name_or_path: str | Path, *, shipped: Mapping[str, Path], noun: str) -> Path:
    """The file of a shipped name, or the file itself when a path is given.

    ``noun`` is the plural used in messages (``workloads``). Raises BadInput, with the nearest name, for a name that
    is neither. A path that does not exist is returned as it is: whoever reads it says so.
    """
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or path.suffix in (".yaml", ".yml") or len(path.parts) > 1 or path.is_file():
        return path
    name = str(name_or_path)
    expected = f"one of the {noun} {', '.join(shipped)}, or a file ending in .yaml"
    raise BadInput([Problem(file=name, key="", value=None, expected=expected, nearest=nearest(name, shipped))])
