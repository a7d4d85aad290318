"""Numbers as people read them."""

from __future__ import annotations


def size_in_words(size: float) -> str:
    """Bytes with a decimal unit: ``437.2 KB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def seconds_in_words(seconds: float | None) -> str:
    """A duration with a fitting unit: ``1.23 ms``."""
    if seconds is None:
        return "-"
    for limit, factor, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (3600.0, 1.0, "s")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds / 3600:.3g} h"


def nodes_in_words(nodes: int) -> str:
    """``1 node``, ``4,096 nodes``."""
    return "1 node" if nodes == 1 else f"{nodes:,} nodes"
