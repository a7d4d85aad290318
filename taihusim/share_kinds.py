"""Where the time of a training step goes, in the kinds that tables and figures show: together they are the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

UNEQUAL: Final = "unequal nodes"
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "compute": ("compute",),
    "memory": ("dma_wait", "memory"),
    "inside the chip": ("mesh_wait", "imbalance", "group_sync", "launch"),
    "network": ("communication_exposed", "pipeline_bubble"),
    "input": ("input",),
    UNEQUAL: ("jitter",),
}
"""The shares of each kind."""


def share_of(point: Mapping[str, Any], kind: str) -> float:
    """The share of a kind in a step."""
    shares: Mapping[str, float] = point["shares"]
    return sum(shares.get(name, 0.0) for name in KINDS[kind])
