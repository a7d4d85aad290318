"""Times of a kernel for any number of blocks, from simulations of the first few.

A kernel's loops repeat exactly once they are steady, so that further blocks add the same ticks again, in turns where a
block is a part of a tile. Counts are simulated until a whole turn was repeated; from there the time is continued, to
the tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import Kernel
from sim.time import seconds_from_ticks
from workloads.hpc.durations import Picoseconds, picoseconds
from workloads.hpc.process_grid import Counts

LONGEST_TURN = 6
"""Blocks after which two buffers of the operands and three of the result are in the same place again."""


@dataclass(eq=False)
class BlockTimes:
    """Times of ``build(count)`` on one core group; 0 for a count of 0.

    From ``steady_from`` on, kernels differ in nothing but their length.
    """

    clock: KernelClock
    build: Callable[[int], Kernel]
    steady_from: int = 2
    ticks: list[int] = field(default_factory=lambda: [0])
    turn: list[int] | None = None

    def of(self, counts: Counts) -> Picoseconds:
        """Picoseconds for each count of blocks."""
        wanted = np.asarray(counts)
        most = int(wanted.max(initial=0))
        while len(self.ticks) <= most and self.turn is None:
            self.ticks.append(self.clock.time(self.build(len(self.ticks))).ticks)
            self.turn = self._repeated()
        known = np.array(self.ticks)
        last = len(known) - 1
        ticks = known[np.minimum(wanted, last)]
        if self.turn is not None:
            turns, rest = np.divmod(np.maximum(wanted - last, 0), len(self.turn))
            ticks = ticks + turns * sum(self.turn) + np.cumsum([0, *self.turn[:-1]])[rest]
        return picoseconds(seconds_from_ticks(1, clock_hertz=self.clock.processor.clock_hertz) * ticks)

    def _repeated(self) -> list[int] | None:
        """What the blocks of the last turn added, if the turn before it added the same; one block's turn thrice."""
        added = [after - before for before, after in pairwise(self.ticks[self.steady_from :])]
        for length in range(1, LONGEST_TURN + 1):
            times = 3 if length == 1 else 2
            turn = added[len(added) - length :]
            if len(added) >= times * length and added[len(added) - times * length :] == turn * times:
                return turn
        return None
