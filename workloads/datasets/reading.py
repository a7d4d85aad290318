"""Files of a dataset: read whole, and what is wrong with one in words a user can act on."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from sim.problems import BadInput, Problem

GZIP_MAGIC = b"\x1f\x8b"


def bad_file(path: Path, expected: str, *, key: str = "", value: object = None) -> Problem:
    """A problem of a file, or of what ``key`` names in it."""
    return Problem(file=str(path), key=key, value=value, expected=expected)


def read_whole(path: Path) -> bytes:
    """The bytes of a file, unpacked where gzip packed them, whatever its name.

    Raises BadInput when there is no such file, or it cannot be read or unpacked.
    """
    if not path.is_file():
        raise BadInput([bad_file(path, "a file that exists")])
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput([bad_file(path, "a file that can be read", value=error.strerror)]) from error
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput([bad_file(path, "a whole gzip file, not one cut off or damaged")]) from error


def is_packed(path: Path) -> bool:
    """Whether gzip packed a file."""
    with path.open("rb") as file:
        return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def one_of(folder: Path, names: tuple[str, ...]) -> Path:
    """The first of ``names`` that is a file in ``folder``.

    Raises BadInput naming the folder and all names when there is none.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BadInput([bad_file(folder, f"a folder with the file {' or '.join(names)}")])


def require_folder(folder: Path) -> None:
    """Raises BadInput when there is no such folder."""
    if not folder.is_dir():
        raise BadInput([bad_file(folder, "a folder that exists")])
