"""Where a command is told to write: whether it can, before it computes what it would write."""

from __future__ import annotations

import os
from pathlib import Path

from sim.problems import BadInput, Problem


def check_folder(path: Path | None, *, option: str = "--out") -> None:
    """Raise BadInput if no folder can be at ``path``: something else is there or above, or writing is not allowed."""
    if path is not None:
        _check(path, places=(path, *path.parents), expected="a folder, or a name that is not taken", option=option)


def check_file(path: Path | None, *, option: str) -> None:
    """Raise BadInput if no file can be written to ``path``, as :func:`check_folder`; a file there is replaced."""
    if path is None:
        return
    if path.is_dir():
        raise BadInput([Problem(file=option, key="", value=str(path), expected="a file, not a folder")])
    _check(path, places=tuple(path.parents), expected="a file in a folder, or in a new one", option=option)


def _check(path: Path, *, places: tuple[Path, ...], expected: str, option: str) -> None:
    for place in places:
        if not place.exists():
            continue
        if not place.is_dir():
            raise BadInput([Problem(file=f"{option} {path}", key="", value=str(place), expected=expected)])
        if not os.access(place, os.W_OK | os.X_OK):
            allowed = "a folder in which you may write"
            raise BadInput([Problem(file=f"{option} {path}", key="", value=str(place), expected=allowed)])
        return
