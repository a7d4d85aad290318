"""Which files a document is made of, found without reading it as YAML where it is a file by itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path


def document_files(path: Path, *, named: Mapping[str, Path]) -> tuple[Path, ...]:
    """The file of a document and those that it extends, nearest first; ``named``: those that have a name.

    Raises BadInput for an unreadable file that extends one, an unknown base or a cycle.
    """
    if not may_have_key(path, "extends"):
        return (path,)
    from sim.document import read_document

    return (path, *read_document(path, named=named).bases)


def may_have_key(path: Path, key: str) -> bool:
    """False only if the YAML file at ``path`` surely has no such key, at whatever depth, or is not there.

    A key stands before a colon, may be quoted, and may be written with escapes or behind a question mark.
    """
    if not path.is_file():
        return False
    return re.search(rb"\\|\?\s|" + re.escape(key.encode()) + rb"['\"]?\s*:", path.read_bytes()) is not None


def files_digest(files: Iterable[Path]) -> str:
    """Digest of places and contents; a file that is not there has none."""
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes() if path.is_file() else None
        digest.update(repr((str(path.resolve()), content)).encode())
    return digest.hexdigest()
