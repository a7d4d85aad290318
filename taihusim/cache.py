"""Where times and descriptions are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nnlib.kernels.store import KernelStore

VARIABLE: Final = "TAIHUSIM_CACHE"
OFF: Final = "off"


def cache_path() -> Path | None:
    """The file: ``TAIHUSIM_CACHE`` (a folder, or ``off``: none), else in the user's cache folder."""
    named = os.environ.get(VARIABLE)
    if named == OFF:
        return None
    if named:
        return Path(named) / "kernels.sqlite"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "taihusim" / "kernels.sqlite"


def default_store() -> KernelStore | None:
    """The store at :func:`cache_path`."""
    from nnlib.kernels.store import KernelStore

    path = cache_path()
    return None if path is None else KernelStore(path)
