"""The workloads and mappings that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sim.named_files import shipped_files

FOLDER: Final = Path(__file__).parent


def shipped_workloads() -> dict[str, Path]:
    """Name and file of every network and program, sorted by name."""
    return shipped_files(FOLDER)


def shipped_mappings() -> dict[str, Path]:
    """Name and file of every mapping, sorted by name."""
    return shipped_files(FOLDER / "mappings")
