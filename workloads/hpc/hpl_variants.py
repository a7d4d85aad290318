"""Choices of a Linpack run that no source settles, one changed at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from workloads.hpc.hpl_spec import HplWorkload, fitting_leaf
from workloads.hpc.process_grid import ProcessGrid, near_square

CHOICES: Final[tuple[tuple[str, tuple[Any, ...]], ...]] = (
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
"""Keys of the mapping, and the block of the problem. The grid's rows depend on how many processes there are."""


def other_values(workload: HplWorkload, grid: ProcessGrid) -> Iterator[tuple[str, Any]]:
    """Keys and values that the workload, whose grid is ``grid``, might have in place of its own."""
    for rows in sorted({grid.rows // 2, near_square(grid.processes)[0]} - {0, grid.rows}):
        yield "rows", rows
    for key, values in CHOICES:
        own = workload.block if key == "block" else getattr(workload.mapping, key)
        yield from ((key, value) for value in values if value != own)


def variants(workload: HplWorkload, grid: ProcessGrid) -> Iterator[tuple[str, Any, HplWorkload]]:
    """Key, value and workload of each of :func:`other_values`; a block has the largest leaf that is not wider."""
    for key, value in other_values(workload, grid):
        if key == "block":
            leaf = fitting_leaf(value, workload.mapping.leaf)
            yield key, value, replace(workload, block=value, mapping=replace(workload.mapping, leaf=leaf))
        else:
            yield key, value, replace(workload, mapping=replace(workload.mapping, **{key: value}))
