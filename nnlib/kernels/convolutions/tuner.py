"""The tuner: of the plans that can do a convolution, the one that is fastest on the simulated core group.

Lower bounds prune, the simulation ranks: a plan is simulated only as far as it could still win. What it has taken so
far is the bound that is never wrong.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import Any

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.convolutions.plans import PLANS, Refusal, Task, build_all
from nnlib.kernels.kernel import InfeasiblePlan, UnsuitablePlan, array_dtype
from nnlib.kernels.launch import Launch
from nnlib.kernels.store import fields_of, key, timing_of
from sim.chip.counters import KernelTiming
from sim.chip.errors import LimitReached
from sim.chip.memory import PRIVATE, MemoryUse
from sim.chip.processor import total_seconds
from sim.machine.spec import ProcessorSpec
from sim.time import seconds_from_ticks, ticks_from_seconds

HORIZON_GROWTH = 4.0
"""Plans are simulated up to so many times what one could take at least; if none ends there, so many times further."""


class NoPlan(Exception):
    """No plan of the library can do the task; ``refusals`` say why."""

    def __init__(self, task: Task, refusals: list[Refusal]) -> None:
        reasons = "; ".join(f"{refusal.plan}: {refusal.reason}" for refusal in refusals)
        super().__init__(f"no plan of {task.library} can do this {task.which}: {reasons}")
        self.refusals = refusals


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The plan chosen, the names and times of its kernels; slower plans, and those that cannot do it."""

    plan: str
    kernels: tuple[str, ...]
    timings: tuple[KernelTiming, ...]
    seconds: float
    slower: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def tune(task: Task, *, clock: KernelClock, memory: MemoryUse = PRIVATE) -> Tuned:
    """The fastest plan, launches by the MPE included; the clock's store remembers it.

    Raises NoPlan if no plan can do the task.
    """
    if clock.store is None:
        return _tune(task, clock, memory)
    name = key(task, processor=clock.processor, memory=memory, what="tuned")
    known = clock.store.find(name, _decode)
    if known is None:
        known = _tune(task, clock, memory)
        clock.store.write(name, json.dumps(_encode(known)))
    return known


def _tune(task: Task, clock: KernelClock, memory: MemoryUse) -> Tuned:
    processor = clock.processor
    found, refusals = build_all(task, processor)
    bounds: dict[str, float] = {}
    for plan, launches in found.items():
        try:
            bounds[plan] = least_seconds(task, plan, launches, processor)
        except InfeasiblePlan as error:
            refusals.append(Refusal(plan, str(error)))
    left = sorted(bounds, key=bounds.__getitem__)
    best: tuple[float, str, tuple[KernelTiming, ...]] | None = None
    horizon = min(bounds.values(), default=0.0)
    while left and best is None:
        # nobody is simulated much further than the winner needs
        horizon *= HORIZON_GROWTH
        for plan in left.copy():
            limit = horizon if best is None else best[0]
            if bounds[plan] >= limit:
                continue
            try:
                timings = _simulate(found[plan], clock, memory, limit)
            except (InfeasiblePlan, UnsuitablePlan) as error:
                refusals.append(Refusal(plan, str(error)))
                left.remove(plan)
                continue
            if timings is not None:
                seconds = total_seconds(timings, processor)
                if best is None or seconds < best[0]:
                    best = seconds, plan, timings
    if best is None:
        raise NoPlan(task, refusals)
    seconds, plan, timings = best
    return Tuned(
        plan=plan,
        kernels=tuple(launch.kernel.name for launch in found[plan]),
        timings=timings,
        seconds=seconds,
        slower=tuple(name for name in left if name != plan),
        refusals=tuple(refusals),
    )


def _simulate(
    launches: tuple[Launch, ...], clock: KernelClock, memory: MemoryUse, limit: float
) -> tuple[KernelTiming, ...] | None:
    """The launches' times; None as soon as they take more than ``limit`` seconds together."""
    processor = clock.processor
    left = limit - len(launches) * processor.mpe.launch_seconds
    timings = []
    for launch in launches:
        if left <= 0:
            return None
        ticks = ticks_from_seconds(left, clock_hertz=processor.clock_hertz)
        try:
            timing = clock.time(launch.kernel, memory=memory, limit=ticks)
        except LimitReached:
            return None
        timings.append(timing)
        left -= seconds_from_ticks(timing.ticks, clock_hertz=processor.clock_hertz)
    return tuple(timings) if left >= 0 else None


def _encode(tuned: Tuned) -> dict[str, Any]:
    return {
        **vars(tuned),
        "timings": [fields_of(timing) for timing in tuned.timings],
        "refusals": [vars(refusal) for refusal in tuned.refusals],
    }


def _decode(fields: Any) -> Tuned:
    return Tuned(
        plan=fields["plan"],
        kernels=tuple(fields["kernels"]),
        timings=tuple(timing_of(each) for each in fields["timings"]),
        seconds=fields["seconds"],
        slower=tuple(fields["slower"]),
        refusals=tuple(Refusal(**each) for each in fields["refusals"]),
    )


def least_seconds(task: Task, plan: str, launches: tuple[Launch, ...], processor: ProcessorSpec) -> float:
    """What a plan takes at least: everything that it writes goes to memory once, its multiply-adds run at peak."""
    processor = processor.computing_in(task.dtype)
    written = sum(
        array_dtype(launch.kernel, parameter).itemsize * prod(parameter.shape)
        for launch in launches
        for parameter in launch.kernel.parameters()
        if parameter.use == "out"
    )
    busy = max(written / processor.memory.bytes_per_second, PLANS[plan].least_compute(task, launches, processor))
    return len(launches) * processor.mpe.launch_seconds + busy
