"""The version of source code, for what is stored of its results."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType


def source_files(package: ModuleType, place: str = "") -> dict[str, Path]:
    """The source files of a package by their module's name; ``place``: only this file or folder of it."""
    root = Path(package.__path__[0])
    path = root / place
    found = {}
    for file in path.rglob("*.py") if path.is_dir() else (path,):
        parts = (package.__name__, *file.relative_to(root).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = file
    return found


def source_digest(files: Mapping[str, Path]) -> str:
    """Digest of files and their names, in whatever order they come."""
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
