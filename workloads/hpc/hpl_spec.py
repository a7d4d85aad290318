"""A Linpack run as frozen descriptions: the problem, and how it is put on the machine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

from workloads.hpc.process_grid import ProcessGrid, RankOrder, near_square

Process: TypeAlias = Literal["core_group", "node"]
Broadcast: TypeAlias = Literal["ring", "ring_modified", "two_rings_modified", "long"]
Swap: TypeAlias = Literal["spread_roll", "binary_exchange"]


WIDEST_GRID: Final = 8
"""Most process columns for each process row where the rows are to be a power of two."""


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

    ``process``: one for each core group or for each node. ``rows``: of the grid, None: see :func:`grid_rows`;
    ``order``: which neighbours in the grid have consecutive ranks. ``broadcast`` of panels, ``swap`` of rows: ways of
    the reference program (Petitet, Whaley, Dongarra and Cleary, HPL 2.3: 1ring, 1ringM, 2ringM, long; spread-roll,
    binary exchange). ``lookahead``: 1: the next panel is factorised before the rest of an update, 0: after.
    ``pivots_eager``: what the processes agree on a pivot with is split into messages below the eager limit.
    ``swap_overlapped``: rows are exchanged under the update. ``leaf``: columns of a panel that are factorised one by
    one. ``update_columns``: of one launch of the update. ``persistent_threads``: kernels are launched by flags.
    ``kernel_fraction``: of a core group's peak that the update reaches, None: what the library's simulated kernel does.
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


def grid_rows(processes: int) -> int:
    """Rows of the grid of so many processes: at most as many as columns, and a power of two if that is not too flat.

    The processes of a column then agree on pivots without a fold.
    """
    power = 1
    while processes % (2 * power) == 0 and (2 * power) ** 2 <= processes:
        power *= 2
    return power if power**2 * WIDEST_GRID >= processes else near_square(processes)[0]


def fitting_leaf(block: int, leaf: int) -> int:
    """The widest part of a panel, halved as often as that goes, that is not wider than ``leaf``."""
    width = block
    while width > leaf and width % 2 == 0:
        width //= 2
    return width
