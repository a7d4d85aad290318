"""Choices of a Linpack run that no source settles, one changed at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from workloads.hpc.hpl_spec import HplWorkload

CHOICES: Final[tuple[tuple[str, tuple[Any, ...]], ...]] = (
    ("rows", (128, 320)),
    ("block", (128, 384, 512)),
    ("process", ("core_group", "node")),
    ("order", ("column_major", "row_major")),
    ("broadcast", ("ring", "ring_modified", "two_rings_modified", "long")),
    ("swap", ("spread_roll", "binary_exchange")),
    ("swap_overlapped", (False, True)),
    ("pivots_eager", (True, False)),
    ("lookahead", (1, 0)),
    ("leaf", (4, 8, 16)),
    ("persistent_threads", (True, False)),
    ("kernel_fraction", (None, 0.95, 1.0)),
)
"""Keys of the mapping, and the block of the problem."""


def variants(workload: HplWorkload) -> Iterator[tuple[str, Any, HplWorkload]]:
    """Key, value and workload of everything but what the workload itself has."""
    for key, values in CHOICES:
        for value in values:
            if key == "block":
                changed = replace(workload, block=value)
            else:
                changed = replace(workload, mapping=replace(workload.mapping, **{key: value}))
            if changed != workload:
                yield key, value, changed
