"""One collective in many groups of ranks at once, each among its own members."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from sim.network.schedule import Ranks, Schedule, Step


def in_groups(schedule: Schedule, members: Ranks, *, ranks: int) -> Schedule:
    """``schedule`` in every group: its rank i is ``members[g, i]`` of the machine's ``ranks`` ranks in group g.

    Messages of all groups belong to the same steps, so that they share links. Raises ValueError if the groups are of
    another size than the schedule.
    """
    if members.ndim != 2 or members.shape[1] != schedule.ranks:
        raise ValueError(f"{schedule.name}: groups of {schedule.ranks} ranks expected, got {members.shape}")
    all_in_order = members.size == ranks and bool((members.ravel() == np.arange(ranks)).all())
    name = (len(members), members.shape[1], int(members[0, 0]), int(members[-1, -1]))

    def spread(steps: Callable[[], Iterator[Step]]) -> Callable[[], Iterator[Step]]:
        return lambda: (_spread(step, members, name=name, everyone=step.everyone and all_in_order) for step in steps())

    # each ring costs as much as a step over all ranks does
    short = schedule.shortened if len(members) < schedule.ranks else None
    return Schedule(
        name=schedule.name,
        ranks=ranks,
        elements=schedule.elements,
        steps=spread(schedule.steps),
        copied=schedule.copied,
        shortened=short and spread(short),
    )


def _spread(step: Step, members: Ranks, *, name: Any, everyone: bool) -> Step:
    """The step's messages in every group."""
    source, destination = members[:, step.source].ravel(), members[:, step.destination].ravel()
    begin, end = np.tile(step.begin, len(members)), np.tile(step.end, len(members))
    into = None if step.into is None else np.tile(step.into, len(members))
    return replace(
        step,
        source=source,
        destination=destination,
        begin=begin,
        end=end,
        pattern=(name, step.pattern),
        everyone=everyone,
        into=into,
        groups=len(members),
    )
