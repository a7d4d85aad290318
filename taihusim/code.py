"""The version of the code that predictions come from."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("sim", "nnlib", "workloads", "taihusim")


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of all source files: what was computed by other code is not found again."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            digest.update(f"{file.relative_to(ROOT)}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
