"""Exact fast-forward of a loop that repeats for a while: images have edges, between which rows are alike.

Where the addresses of a loop come back only after many iterations, :mod:`sim.chip.forward` sees a repetition late or
never. Here the loop says beforehand what each iteration asks of the memory. Once the machine is in a state in which it
was at an earlier head, what came in between is repeated as often as the iterations ahead are the same, one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from sim.chip.forward import BUFFERS, Head, Lengths, State, head_of, relative_state, repeat
from sim.chip.scheduler import Scheduler

LEAST_ITERATIONS: Final = 128
"""Shorter loops are simulated before it pays to look at their states."""
LEAST_PERIOD: Final = 64
"""A loop with a shorter period is better watched by whole periods."""
PATIENCE: Final = 128
PATIENT_SHARE: Final = 4
"""Heads in a row without a repetition after which a loop is not looked at any more, at most a quarter of all."""

Ahead = Callable[[int], Hashable]
"""Of an iteration: equal for iterations that do the same operations at the same costs."""


def suits(steady: range, period: int) -> bool:
    """Whether a loop is better cut short stretch by stretch."""
    return len(steady) >= LEAST_ITERATIONS and period >= LEAST_PERIOD


@dataclass
class Stretches:
    """Watches the heads of one run of ``loop`` in the iterations ``steady``, which take ``buffers`` in turn.

    ``found``: after how many iterations it last repeated, once known.
    """

    scheduler: Scheduler
    loop: str
    steady: range
    ahead: Ahead
    buffers: int = BUFFERS
    found: int | None = None
    heads: dict[tuple[int, State], Head] = field(default_factory=dict)
    before: Lengths | None = None
    given_up: bool = False

    def skip(self, iteration: int) -> int:
        """Called at the head of ``iteration``: how many iterations to leave out, their time and counters added."""
        if self.given_up:
            return 0
        scheduler, trace = self.scheduler, self.scheduler.trace
        now = scheduler.advance()
        before, self.before = self.before, Lengths(len(trace.operations), len(trace.skipped), trace.transfers)
        if now is None or before is None:
            return 0
        # what follows is compared itself: of the past only what is still under way counts
        state = iteration % self.buffers, relative_state(scheduler, now=now, since=before)
        earlier = self.heads.get(state)
        self.heads[state] = head = head_of(scheduler, iteration, now=now)
        times = 0 if earlier is None else self._times(earlier.iteration, iteration)
        if earlier is None or not times:
            self.given_up = len(self.heads) > min(PATIENCE, len(self.steady) // PATIENT_SHARE)
            return 0
        self.found = iteration - earlier.iteration
        repeat(scheduler, earlier, head, times, loop=self.loop)
        self.heads.clear()
        return times * self.found

    def _times(self, earlier: int, now: int) -> int:
        """How often the iterations from ``earlier`` to ``now`` come again from now on."""
        step, alike = now - earlier, 0
        while now + alike < self.steady.stop and self.ahead(now + alike) == self.ahead(earlier + alike % step):
            alike += 1
        return alike // step
