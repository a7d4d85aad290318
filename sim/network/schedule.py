"""A collective is a schedule: steps of messages, made one after the other and never kept all together.

The same schedule is timed on arrays of clocks (:mod:`sim.network.ranks`) and executed on arrays of numbers, which
gives the reduced values in exactly its order of summation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim.network.exchange import Exchange

Ranks = NDArray[np.int64]

STEP_BY_STEP_RANKS: Final = 4096
"""Most ranks of a collective with about as many steps as ranks that is timed step by step."""


@dataclass(frozen=True)
class Step:
    """Messages that belong together; every rank sends at most one and receives at most one.

    Message i goes from ``source[i]`` to ``destination[i]`` and carries the elements ``begin[i]`` to ``end[i]``; the
    receiver adds them to its own if ``reduce``, else they replace its own, at the same place or from ``into[i]`` on.
    Steps of equal ``pattern`` have the same sources and destinations. ``everyone``: message i is of rank i, and every
    rank has one. ``turns``: how often the step is done, with messages of the same size each time. ``groups``: the
    messages are of so many groups of ranks, those of one behind those of the other.
    """

    source: Ranks
    destination: Ranks
    begin: Ranks
    end: Ranks
    reduce: bool
    pattern: Hashable
    everyone: bool = False
    into: Ranks | None = None
    turns: int = 1
    groups: int = 1
    joint_group: int = 0


@dataclass(frozen=True)
class Schedule:
    """``steps()`` yields the steps of a collective over ``ranks`` ranks on ``elements`` elements each.

    ``copied``: behind its elements each rank has a second copy of them, in which the result comes to be. Schedules of
    equal ``structure``, if they have one, differ in their elements alone. ``shortened()``, if there is one, yields
    fewer steps that take as long: equal ones as one with turns, every part as long as the longest.
    ``exchanges()``, if there is one, yields the same steps as exchanges that neighbours do alike; it needs a
    ``structure``.

    ``joint_group``, if not 0: switches add what all ranks send, first of each so many neighbours, and give all of them
    the sum once all have come; the messages are what that puts on links.
    """

    name: str
    ranks: int
    elements: int
    steps: Callable[[], Iterator[Step]]
    copied: bool = False
    structure: Hashable = None
    shortened: Callable[[], Iterator[Step]] | None = None
    exchanges: Callable[[], Iterator[Exchange]] | None = None

    def timed_steps(self) -> Iterator[Step]:
        """The steps from which the collective is timed: shortened where it has very many."""
        if self.shortened is not None and self.ranks > STEP_BY_STEP_RANKS:
            return self.shortened()
        return self.steps()

    @property
    def timed_to_rounding(self) -> bool:
        """Whether :meth:`timed_steps` take as long as the steps themselves: they are, or all parts are equally long."""
        return self.shortened is None or self.ranks <= STEP_BY_STEP_RANKS or self.elements % self.ranks == 0


def execute(schedule: Schedule, values: NDArray[Any]) -> NDArray[Any]:
    """What each rank holds after the collective. ``values``: shape (ranks, elements), left as it is.

    Raises ValueError if the shape is another one.
    """
    if values.shape != (schedule.ranks, schedule.elements):
        raise ValueError(f"{schedule.name}: expected ({schedule.ranks}, {schedule.elements}), got {values.shape}")
    held = np.tile(values, 2) if schedule.copied else values.copy()
    for step in schedule.steps():
        into = step.begin if step.into is None else step.into
        columns = (step.source, step.destination, step.begin, step.end, into)
        places = list(zip(*(column.tolist() for column in columns), strict=True))
        if step.joint_group:
            _join(held, step)
            continue
        # all messages of a step leave before any arrives
        carried = [held[source, begin:end].copy() for source, _, begin, end, _ in places]
        for (_, destination, _, _, put), data in zip(places, carried, strict=True):
            if step.reduce:
                held[destination, put : put + len(data)] += data
            else:
                held[destination, put : put + len(data)] = data
    return held[:, schedule.elements :] if schedule.copied else held


def _join(held: NDArray[Any], step: Step) -> None:
    """Give every rank the sum of all of its group, neighbours first."""
    begin, end = int(step.begin[0]), int(step.end[0])
    for members in np.split(step.source, step.groups):
        firsts = np.arange(0, len(members), step.joint_group)
        parts = np.add.reduceat(held[members, begin:end], firsts, axis=0)
        held[members, begin:end] = parts.sum(axis=0)
