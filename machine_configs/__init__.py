"""The machine files that come with the package, each number with its unit and source."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DEFAULT_MACHINE: Final = "sunway_taihulight"
"""The machine where nobody names one."""


def shipped_files() -> dict[str, Path]:
    """Name and file of every machine that comes with the package, sorted by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
