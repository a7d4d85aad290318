"""The version of source code, for what is stored of its results."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from types import ModuleType


def source_files(package: ModuleType, place: str = "") -> dict[str, str]:
    """The source files of a package by their module's name; ``place``: only this file or folder of it."""
    root = package.__path__[0]
    path = os.path.join(root, place)
    # every command begins with this: strings take a third of the time of paths
    walked = [(os.path.dirname(path), [], [os.path.basename(path)])] if os.path.isfile(path) else os.walk(path)
    found = {}
    for folder, _, names in walked:
        above = ".".join((package.__name__, *os.path.relpath(folder, root).split(os.sep))).removesuffix("..")
        for name in names:
            if name.endswith(".py"):
                found[f"{above}.{name.removesuffix('.py')}".removesuffix(".__init__")] = os.path.join(folder, name)
    return found


def source_digest(files: Mapping[str, str]) -> str:
    """Digest of files and their names, in whatever order they come."""
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name}\n".encode())
        with open(file, "rb", buffering=0) as opened:
            digest.update(opened.read())
    return digest.hexdigest()
