"""``kernel``: one operation on one or all core groups of a chip: time, reasons, roofline, and its numbers' error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nnlib.kernels.catalogue import Sizes
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.generations import DEFAULT_LIBRARY
from nnlib.kernels.simulation import simulate
from nnlib.kernels.store import KernelStore
from nnlib.precision import DTypeName
from sim.chip.counters import Interval, KernelTiming
from sim.chip.processor import add_shares, launch_segment
from sim.machine.spec import MachineSpec
from sim.time import TICKS_PER_CYCLE, ticks_from_seconds
from sim.trace.perfetto import Slice, encode
from taihusim.kernel_error import CHANNELS_LAST, launches_error
from taihusim.kernel_plan import Question, checked, named_launches, plan, refusals_as_bad_input
from workloads.bottleneck import node_bottleneck

Numerics = Literal["tile", "off"]


@dataclass(frozen=True, kw_only=True)
class KernelRequest:
    """What is asked: operation ``op`` of ``sizes`` on ``core_groups``, launched ``launches`` times in a row.

    ``plan``: of a convolution; None for the one that the tuner finds fastest.
    """

    op: str
    sizes: Sizes
    core_groups: int = 1
    dtype: DTypeName = "fp64"
    library: str = DEFAULT_LIBRARY
    plan: str | None = None
    launches: int = 1
    numerics: Numerics = "off"
    seed: int = 0


def run_operation(machine: MachineSpec, request: KernelRequest, *, store: KernelStore | None = None) -> dict[str, Any]:
    """What the command prints as JSON; ``store`` remembers times.

    Raises BadInput for an unknown operation, for sizes that are missing or that it does not have, for more core groups
    than there are, for a library or plan that there is not, and for a plan that cannot do it.
    """
    processor = machine.processor
    question = checked(processor, request)
    planned = plan(machine, question, clock=KernelClock(processor, store=store))
    timings = planned.timings
    segments = [
        launch_segment(timing=timing, processor=processor, launch_seconds=processor.mpe.launch_seconds)
        for timing in timings
    ]
    seconds = request.launches * sum(segment.seconds for segment in segments)
    flops = request.launches * _flops(question, timings)
    moved = request.launches * request.core_groups * sum(timing.get_bytes + timing.put_bytes for timing in timings)
    peak = request.core_groups * processor.computing_in(request.dtype).core_group_cpe_peak_flops
    bandwidth = request.core_groups * processor.dma.line_bytes / processor.dma.line_seconds
    intensity = flops / moved if moved else None
    busiest = max(zip(planned.kernels, segments, strict=True), key=lambda pair: pair[1].seconds)[0]
    shares = add_shares(segments)
    return {
        "op": request.op,
        "plan": planned.plan,
        "library": request.library,
        "dtype": request.dtype,
        "core_groups": request.core_groups,
        "launches": request.launches,
        "cycles": ticks_from_seconds(seconds, clock_hertz=processor.clock_hertz) // TICKS_PER_CYCLE,
        "seconds": seconds,
        "gflops": flops / seconds / 1e9,
        "peak_fraction": flops / seconds / peak,
        "ldm_bytes_per_cpe": max(timing.ldm_high_water for timing in timings),
        "dma_bytes": moved,
        "dma_gbs": moved / seconds / 1e9,
        "bottleneck": node_bottleneck(
            shares={name: value * request.launches / seconds for name, value in shares.items()},
            busiest=busiest,
            launches=len(timings),
            launch_seconds=processor.mpe.launch_seconds,
            unit="operation",
        ),
        "breakdown": {name: value * request.launches for name, value in shares.items()},
        "max_relative_error": (
            launches_error(
                planned.launches(),
                processor=processor,
                seed=request.seed,
                task=question.task if planned.plan in CHANNELS_LAST else None,
            )
            if request.numerics == "tile"
            else None
        ),
        "machine": machine.name,
        "sizes": dict(question.sizes),
        "flops": flops,
        "roofline": {
            "flops_per_byte": intensity,
            "peak_gflops": peak / 1e9,
            "bandwidth_gbs": bandwidth / 1e9,
            "attainable_gflops": None if intensity is None else min(peak, intensity * bandwidth) / 1e9,
        },
        "kernels": [
            {
                "kernel": name,
                "seconds": segment.seconds,
                "breakdown": segment.shares,
                "loops": [vars(loop) | {"words": loop.words} for loop in timing.loops],
            }
            for name, segment, timing in zip(planned.kernels, segments, timings, strict=True)
        ],
        "plans_not_chosen": {refusal.plan: refusal.reason for refusal in planned.refusals}
        | dict.fromkeys(planned.slower, "slower"),
    }


def trace_of(machine: MachineSpec, request: KernelRequest, *, store: KernelStore | None = None) -> bytes:
    """The timeline of one core group's CPEs over one launch of each kernel, for ui.perfetto.dev."""
    processor = machine.processor
    question = checked(processor, request)
    slices: list[Slice] = []
    begin = 0
    with refusals_as_bad_input(machine, question):
        if question.task is not None and question.plan is None:
            launches = plan(machine, question, clock=KernelClock(processor, store=store)).launches()
        else:
            _, launches = named_launches(question, processor)
        for launch in launches:
            begin += ticks_from_seconds(processor.mpe.launch_seconds, clock_hertz=processor.clock_hertz)
            timing = simulate(launch.kernel, processor=processor, memory=question.memory, record=True)
            slices += [_slice(each, begin=begin, clock_hertz=processor.clock_hertz) for each in timing.intervals]
            begin += timing.ticks
    columns = processor.mesh.columns
    names = [f"CPE ({cpe // columns}, {cpe % columns})" for cpe in range(processor.cpes_per_core_group)]
    return encode(slices, process=f"{request.op} on a core group of {machine.title}", tracks=names)


def _slice(interval: Interval, *, begin: int, clock_hertz: float) -> Slice:
    start, end = (round((begin + at) * 1e9 / (clock_hertz * TICKS_PER_CYCLE)) for at in (interval.start, interval.end))
    return Slice(track=interval.cpe, start=start, end=end, name=interval.label, category=interval.reason)


def _flops(question: Question, timings: Sequence[KernelTiming]) -> int:
    """Useful operations of one launch: by definition, else as the kernels count them."""
    if question.operation.flops is not None:
        return question.operation.flops(question.sizes)
    return question.core_groups * sum(timing.flops for timing in timings)
