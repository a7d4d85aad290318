"""The machine files that come with the package, each number with its unit and source."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def shipped_files() -> dict[str, Path]:
    """Name and file of every machine that comes with the package, sorted by name."""
    folder = Path(str(resources.files(__name__)))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
