"""A pipeline by processes and messages: the reference for the recurrence."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import simpy

from workloads.parallel.pipeline import Work, one_forward_one_backward
from workloads.parallel.pipeline_times import PipelineTimes, StageSeconds


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
            taken = seconds.forward if forward else seconds.backward
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
