"""When a pipeline's stages do what, as a recurrence over 1F1B's order.

A stage does one thing after the other, each as soon as what it needs has come. Messages go beside the computing; those
of one cut and direction follow one another. Replicas that are not equally fast are arrays, an entry for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from workloads.parallel.pipeline import Work, one_forward_one_backward

Seconds: TypeAlias = float | NDArray[np.float64]
"""Of every replica, or of each (replicas,)."""


@dataclass(frozen=True, kw_only=True)
class StageSeconds:
    """A stage's passes of one micro-batch, and its messages to the next stage and back from there.

    ``accumulate``: adding a micro-batch's gradients to those of the ones before it.
    """

    forward: Seconds
    backward: Seconds
    accumulate: float = 0.0
    send: float = 0.0
    give_back: float = 0.0


@dataclass(frozen=True)
class PipelineTimes:
    """For each stage when it begins its last backward pass and when it is through, and how long it was busy."""

    last_begins: tuple[Seconds, ...]
    ends: tuple[Seconds, ...]
    busy: tuple[Seconds, ...]


def pipeline_times(stages: Sequence[StageSeconds], *, micro_batches: int) -> PipelineTimes:
    """Pass ``micro_batches`` through ``stages``, all of which are free at 0."""
    count = len(stages)
    orders = [
        one_forward_one_backward(stages=count, stage=stage, micro_batches=micro_batches) for stage in range(count)
    ]
    places = [0] * count
    clocks: list[Seconds] = [0.0] * count
    busy: list[Seconds] = [0.0] * count
    begins: list[Seconds] = [0.0] * count
    arrived: dict[tuple[int, Work], Seconds] = {(0, Work("forward", number)): 0.0 for number in range(micro_batches)}
    arrived |= {(count - 1, Work("backward", number)): 0.0 for number in range(micro_batches)}
    links: dict[tuple[int, int], Seconds] = {}
    waiting = list(range(count))
    while waiting:
        stage = waiting.pop()
        seconds = stages[stage]
        while places[stage] < len(orders[stage]):
            work = orders[stage][places[stage]]
            came = arrived.pop((stage, work), None)
            if came is None:
                break
            begin = later(clocks[stage], came)
            if work.kind == "forward":
                taken, target, message = seconds.forward, stage + 1, seconds.send
            else:
                taken = seconds.backward + (seconds.accumulate if work.micro_batch else 0.0)
                target, message = stage - 1, stages[stage - 1].give_back if stage else 0.0
            begins[stage], clocks[stage] = begin, begin + taken
            busy[stage] = busy[stage] + taken
            places[stage] += 1
            if 0 <= target < count:
                free = later(clocks[stage], links.get((stage, target), 0.0)) + message
                links[stage, target] = arrived[target, work] = free
                waiting.append(target)
    return PipelineTimes(tuple(begins), tuple(clocks), tuple(busy))


def later(first: Seconds, second: Seconds) -> Seconds:
    """The later of two times, in each replica."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.maximum(first, second)
    return max(first, second)


def latest(seconds: Seconds) -> float:
    """The time of the replica that is last."""
    return float(np.max(seconds))
