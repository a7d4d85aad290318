"""A pipeline by processes and messages: the reference for the recurrence."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import simpy

from workloads.parallel.pipeline import Work, one_forward_one_backward
from workloads.parallel.pipeline_times import PipelineTimes, StageSeconds, latest


def simulate_pipeline(stages: Sequence[StageSeconds], *, micro_batches: int) -> PipelineTimes:
    """One process for each stage, one for each direction of each cut, and a mailbox for each message."""
    env = simpy.Environment()
    count = len(stages)
    boxes: dict[tuple[int, Work], simpy.Event] = {}
    queues = {(stage, target): simpy.Store(env) for stage in range(count) for target in (stage - 1, stage + 1)}
    ends, busy, begins = [0.0] * count, [0.0] * count, [0.0] * count

    def box(stage: int, work: Work) -> simpy.Event:
        return boxes.setdefault((stage, work), env.event())

    def link(source: int, target: int, seconds: float) -> Generator[simpy.Event, Any, None]:
        while True:
            work = yield queues[source, target].get()
            yield env.timeout(seconds)
            box(target, work).succeed()

    def stage_process(stage: int) -> Generator[simpy.Event, Any, None]:
        seconds = stages[stage]
        for work in one_forward_one_backward(stages=count, stage=stage, micro_batches=micro_batches):
            forward = work.kind == "forward"
            if stage != (0 if forward else count - 1):
                yield box(stage, work)
            taken = latest(seconds.forward if forward else seconds.backward)
            if not forward and work.micro_batch:
                taken += seconds.accumulate
            begins[stage] = env.now
            yield env.timeout(taken)
            busy[stage] += taken
            ends[stage] = env.now
            target = stage + 1 if forward else stage - 1
            if 0 <= target < count:
                queues[stage, target].put(work)

    for stage in range(count):
        env.process(stage_process(stage))
        if stage + 1 < count:
            env.process(link(stage, stage + 1, stages[stage].send))
            env.process(link(stage + 1, stage, stages[stage].give_back))
    env.run()
    return PipelineTimes(tuple(begins), tuple(ends), tuple(busy))


@dataclass(frozen=True, kw_only=True)
class RankPasses:
    """A stage's passes, launch by launch: seconds of computing before, between and after ``exchange`` seconds each.

    ``late``: what each tensor rank (ways, 2) loses at the beginning of a forward and of a backward pass.
    """

    forward: tuple[float, ...]
    backward: tuple[float, ...]
    exchange: float
    accumulate: float
    send: float
    give_back: float
    late: tuple[tuple[float, float], ...]

    def seconds(self, part: tuple[float, ...]) -> float:
        """A pass without what is late."""
        return sum(part) + self.exchange * (len(part) - 1)


def simulate_ranks(stages: Sequence[RankPasses], *, micro_batches: int) -> list[float]:
    """When each stage of a replica is through: a process for every tensor rank; they meet to exchange and hand on."""
    env = simpy.Environment()
    count, ways = len(stages), len(stages[0].late)
    meetings: dict[tuple[object, ...], list[simpy.Event]] = {}
    arrived: dict[tuple[int, Work], simpy.Event] = {}
    links = {(stage, target): simpy.Store(env) for stage in range(count) for target in (stage - 1, stage + 1)}
    ends = [0.0] * count

    def meet(*which: object) -> simpy.Event:
        """Happens once all ranks of a group have come."""
        here = meetings.setdefault(which, [])
        here.append(env.event())
        if len(here) == ways:
            for each in here:
                each.succeed()
        return here[-1]

    def box(stage: int, work: Work) -> simpy.Event:
        return arrived.setdefault((stage, work), env.event())

    def link(source: int, target: int, seconds: float) -> Generator[simpy.Event, Any, None]:
        while True:
            work = yield links[source, target].get()
            yield env.timeout(seconds)
            box(target, work).succeed()

    def rank_process(stage: int, rank: int) -> Generator[simpy.Event, Any, None]:
        own = stages[stage]
        for work in one_forward_one_backward(stages=count, stage=stage, micro_batches=micro_batches):
            forward = work.kind == "forward"
            if stage != (0 if forward else count - 1):
                yield box(stage, work)
            yield env.timeout(own.late[rank][0 if forward else 1])
            for number, seconds in enumerate(own.forward if forward else own.backward):
                if number:
                    yield meet(stage, work, number)
                    yield env.timeout(own.exchange)
                yield env.timeout(seconds)
            if not forward and work.micro_batch:
                yield env.timeout(own.accumulate)
            yield meet(stage, work, "through")
            ends[stage] = env.now
            target = stage + 1 if forward else stage - 1
            if rank == 0 and 0 <= target < count:
                links[stage, target].put(work)

    for stage, own in enumerate(stages):
        for rank in range(ways):
            env.process(rank_process(stage, rank))
        if stage + 1 < count:
            env.process(link(stage, stage + 1, own.send))
            env.process(link(stage + 1, stage, own.give_back))
    env.run()
    return ends
