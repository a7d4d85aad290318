"""The version of the code that predictions come from."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import nnlib
import sim
import taihusim
import workloads
from sim.source_digest import source_digest, source_files

PACKAGES: Final = (sim, nnlib, workloads, taihusim)


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of all source files: what was computed by other code is not found again."""
    return source_digest({name: file for package in PACKAGES for name, file in source_files(package).items()})
