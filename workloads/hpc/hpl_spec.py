"""A Linpack run as frozen descriptions: the problem, and how it is put on the machine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from workloads.hpc.process_grid import ProcessGrid, RankOrder

Process: TypeAlias = Literal["core_group", "node"]
Broadcast: TypeAlias = Literal["ring", "ring_modified", "two_rings_modified", "long"]
Swap: TypeAlias = Literal["spread_roll", "binary_exchange"]


@dataclass(frozen=True, kw_only=True)
class LuProblem:
    """``blocks`` × ``blocks`` blocks of ``block`` × ``block`` numbers on a grid of processes."""

    blocks: int
    block: int
    grid: ProcessGrid

    @property
    def order(self) -> int:
        return self.blocks * self.block

    @property
    def flops(self) -> float:
        """As the benchmark counts them: 2/3·N³ + 3/2·N²."""
        return 2 / 3 * self.order**3 + 3 / 2 * self.order**2


@dataclass(frozen=True, kw_only=True)
class HplMapping:
    """How the factorisation is put on a machine.

    ``process``: one for each core group or for each node. ``rows``: of the grid, None: as near to a square as the
    nodes allow, wider than tall. ``lookahead``: 1: the next panel is factorised before the rest of an update, 0: after.
    ``pivots_eager``: what the processes agree on a pivot with is split into messages below the eager limit.
    ``swap_overlapped``: rows are exchanged under the update. ``leaf``: columns of a panel that are factorised one by
    one. ``update_columns``: of one launch of the update. ``kernel_fraction``: of a core group's peak that the update
    reaches, None: what the library's simulated kernel does.
    """

    process: Process = "core_group"
    rows: int | None = None
    order: RankOrder = "column_major"
    broadcast: Broadcast = "long"
    swap: Swap = "spread_roll"
    swap_overlapped: bool = False
    pivots_eager: bool = True
    lookahead: int = 1
    leaf: int = 8
    update_columns: int = 1024
    persistent_threads: bool = True
    kernel_fraction: float | None = None

    def chains(self, columns: int) -> list[tuple[int, int]]:
        """The chains of process columns that a panel is passed along, in the order in which its own sends to them.

        Of each the first column and the one after the last, counted from the panel's; none where it goes in parts.
        """
        match self.broadcast:
            case "ring":
                heads = {1}
            case "ring_modified":
                heads = {1, 2}
            case "two_rings_modified":
                heads = {1, 2, 2 + max(columns - 2, 0) // 2}
            case "long":
                heads = set()
        return list(pairwise([*sorted(head for head in heads if head < columns), columns]))


@dataclass(frozen=True, kw_only=True)
class HplWorkload:
    """``order`` of the matrix on ``order_nodes`` nodes; on others every node has as many numbers. ``block``: of it."""

    name: str
    title: str
    order: int
    order_nodes: int
    block: int
    mapping: HplMapping
