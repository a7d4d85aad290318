"""A ring of messages turned many times, without doing every turn.

In a turn rank r gives to r + 1 and takes from r - 1, so its clock becomes the later of both messages' ends. Over many
turns a clock is the largest sum of times along a path that stays at a rank or goes to a neighbour in every turn: from
where it begins to a slow message, there as long as possible, and from there to the rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TurnCost:
    """Seconds of each rank's message to the next one, and of the receiver's addition after it: (ranks,) each."""

    message_seconds: Floats
    adding_seconds: Floats


def after_turns(clocks: Floats, cost: TurnCost, *, turns: int) -> Floats:
    """The clocks (ranks,) after ``turns`` turns, to rounding; at least one turn less than there are ranks."""
    message = cost.message_seconds
    adding = np.roll(cost.adding_seconds, 1)
    # of a rank's clock in a turn: on its own, over the message to it, over the message from it
    from_before, from_behind = np.roll(message, 1) + adding, message + adding
    alone = np.maximum(from_before, from_behind)
    best = np.full(len(clocks), -np.inf)
    for slow in np.unique(alone)[::-1]:
        if best.min() >= turns * slow + clocks.max():
            break  # who stays at a message as fast as this one or faster is behind already
        # who meets a slower message than this one had better stay there, which that one's turn of the loop says
        ahead, back = np.maximum(slow - from_before, 0.0), np.maximum(slow - from_behind, 0.0)
        reached = _spread(clocks, ahead, back)
        waiting = np.where(alone == slow, reached, -np.inf)
        np.maximum(best, turns * slow + _spread(waiting, ahead, back), out=best)
    return best


def _spread(values: Floats, ahead: Floats, back: Floats) -> Floats:
    """The most of any rank's value less the way from it; ``ahead[r]``: into r from r - 1, ``back[r]``: from r + 1."""
    ranks = len(values)
    twice = np.concatenate([values, values])
    passed = np.cumsum(np.concatenate([ahead, ahead]))
    forward = (np.maximum.accumulate(twice + passed) - passed)[ranks:]
    passed = np.cumsum(np.concatenate([back, back])[::-1])
    backward = (np.maximum.accumulate(twice[::-1] + passed) - passed)[::-1][:ranks]
    found: Floats = np.maximum(forward, backward)
    return found
