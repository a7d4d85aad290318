"""The tuner: of the plans that can do a convolution, the one that is fastest on the simulated core group.

Lower bounds prune, the simulation ranks: plans are simulated in the order of the least time they could take, and those
that could not beat the best one any more are not simulated at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import Any

from nnlib.kernels.clock import PRIVATE, KernelClock
from nnlib.kernels.kernel import InfeasiblePlan, UnsuitablePlan
from nnlib.kernels.launch import Launch
from nnlib.kernels.plans import Refusal, Task, build_all
from nnlib.kernels.store import fields_of, key, timing_of
from nnlib.precision import DTYPES
from sim.chip.counters import KernelTiming
from sim.chip.memory import MemoryUse
from sim.machine.spec import ProcessorSpec
from sim.time import seconds_from_ticks

WINOGRAD_SAVES = 36 / 16
"""Multiplications of a direct 3 × 3 convolution for each one of F(2×2, 3×3)."""


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
    bounds = {plan: least_seconds(task, plan, launches, processor) for plan, launches in found.items()}
    best: tuple[float, str, tuple[KernelTiming, ...]] | None = None
    for plan in sorted(found, key=bounds.__getitem__):
        if best is not None and bounds[plan] >= best[0]:
            continue
        try:
            timings = tuple(clock.time(launch.kernel, memory=memory) for launch in found[plan])
        except (InfeasiblePlan, UnsuitablePlan) as error:
            refusals.append(Refusal(plan, str(error)))
            continue
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
        slower=tuple(name for name in found if name != plan and name not in {each.plan for each in refusals}),
        refusals=tuple(refusals),
    )


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


def total_seconds(timings: tuple[KernelTiming, ...], processor: ProcessorSpec) -> float:
    """Seconds of launches one after the other, each spawned and joined by the MPE."""
    ticks = sum(timing.ticks for timing in timings)
    return len(timings) * processor.mpe.launch_seconds + seconds_from_ticks(ticks, clock_hertz=processor.clock_hertz)


def least_seconds(task: Task, plan: str, launches: tuple[Launch, ...], processor: ProcessorSpec) -> float:
    """What a plan takes at least: everything that it writes goes to memory once, its multiply-adds run at peak."""
    written = sum(
        DTYPES[launch.kernel.dtype].itemsize * prod(parameter.shape)
        for launch in launches
        for parameter in launch.kernel.parameters()
        if parameter.use == "out"
    )
    flops = task.convolution.flops / task.core_groups / (WINOGRAD_SAVES if plan == "winograd" else 1)
    busy = max(written / processor.memory.bytes_per_second, flops / processor.core_group_cpe_peak_flops)
    return len(launches) * processor.mpe.launch_seconds + busy
