"""``kernel``: one operation on one or all core groups of a chip: time, reasons, roofline, and its numbers' error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nnlib.kernels.catalogue import OPERATIONS, Operation, Part, Sizes
from nnlib.kernels.clock import KernelClock, compute_kernel, simulate
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.precision import DTYPES, DTypeName
from sim.chip.counters import Interval, KernelTiming
from sim.chip.memory import Array
from sim.chip.processor import Segment, add_shares, launch_segment
from sim.machine.spec import MachineSpec, ProcessorSpec
from sim.problems import BadInput, Problem, nearest
from sim.time import TICKS_PER_CYCLE, ticks_from_seconds
from sim.trace.perfetto import Slice, encode
from workloads.bottleneck import node_bottleneck

Numerics = Literal["tile", "off"]


@dataclass(frozen=True, kw_only=True)
class KernelRequest:
    """What is asked: operation ``op`` of ``sizes`` on ``core_groups``, launched ``launches`` times in a row."""

    op: str
    sizes: Sizes
    core_groups: int = 1
    dtype: DTypeName = "fp64"
    launches: int = 1
    numerics: Numerics = "off"
    seed: int = 0


def run_operation(machine: MachineSpec, request: KernelRequest) -> dict[str, Any]:
    """What the command prints as JSON.

    Raises BadInput for an unknown operation, for sizes that are missing or that it does not have, for more core groups
    than there are, and for tiles that do not fit the LDM.
    """
    processor = machine.processor
    operation, sizes = _checked(processor, request)
    parts = _parts(operation, sizes, request)
    timings = _times(machine, parts)
    segments = [
        launch_segment(timing=timing, processor=processor, launch_seconds=processor.mpe.launch_seconds)
        for timing in timings
    ]
    seconds = request.launches * sum(segment.seconds for segment in segments)
    flops = request.launches * _flops(operation, sizes, timings, request.core_groups)
    moved = request.launches * request.core_groups * sum(timing.get_bytes + timing.put_bytes for timing in timings)
    peak = request.core_groups * processor.core_group_cpe_peak_flops
    bandwidth = request.core_groups * processor.dma.line_bytes / processor.dma.line_seconds
    intensity = flops / moved if moved else None
    busiest = max(zip(parts, segments, strict=True), key=lambda pair: pair[1].seconds)[0].kernel.name
    shares = add_shares(segments)
    return {
        "op": request.op,
        "plan": operation.plan,
        "library": "autotuned-2019",
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
            launches=len(parts),
            launch_seconds=processor.mpe.launch_seconds,
            unit="operation",
        ),
        "breakdown": {name: value * request.launches for name, value in shares.items()},
        "max_relative_error": _error(processor, parts, request) if request.numerics == "tile" else None,
        "machine": machine.name,
        "sizes": dict(sizes),
        "flops": flops,
        "roofline": {
            "flops_per_byte": intensity,
            "peak_gflops": peak / 1e9,
            "bandwidth_gbs": bandwidth / 1e9,
            "attainable_gflops": None if intensity is None else min(peak, intensity * bandwidth) / 1e9,
        },
        "kernels": [_kernel(part, segment) for part, segment in zip(parts, segments, strict=True)],
    }


def trace_of(machine: MachineSpec, request: KernelRequest) -> bytes:
    """The timeline of one core group's CPEs over one launch of each kernel, for ui.perfetto.dev."""
    processor = machine.processor
    operation, sizes = _checked(processor, request)
    slices: list[Slice] = []
    begin = 0
    for part in _parts(operation, sizes, request):
        begin += ticks_from_seconds(processor.mpe.launch_seconds, clock_hertz=processor.clock_hertz)
        timing = simulate(part.kernel, processor=processor, record=True)
        slices += [_slice(each, begin=begin, clock_hertz=processor.clock_hertz) for each in timing.intervals]
        begin += timing.ticks
    columns = processor.mesh.columns
    names = [f"CPE ({cpe // columns}, {cpe % columns})" for cpe in range(processor.cpes_per_core_group)]
    return encode(slices, process=f"{request.op} on a core group of {machine.title}", tracks=names)


def _slice(interval: Interval, *, begin: int, clock_hertz: float) -> Slice:
    start, end = (round((begin + at) * 1e9 / (clock_hertz * TICKS_PER_CYCLE)) for at in (interval.start, interval.end))
    return Slice(track=interval.cpe, start=start, end=end, name=interval.label, category=interval.reason)


def _checked(processor: ProcessorSpec, request: KernelRequest) -> tuple[Operation, Sizes]:
    operation = OPERATIONS.get(request.op)
    if operation is None:
        expected = f"one of the operations {', '.join(OPERATIONS)}"
        near = nearest(request.op, OPERATIONS)
        raise BadInput([Problem(file=request.op, key="", value=None, expected=expected, nearest=near)])
    known = [*operation.needs, *operation.defaults]
    problems = [
        Problem(file=f"--{name}", key="", value=None, expected=f"a number of {meaning} for {request.op}")
        for name, meaning in operation.needs.items()
        if name not in request.sizes
    ]
    problems += [
        Problem(file=f"--{name}", key="", value=value, expected=f"no such size: {request.op} has {', '.join(known)}")
        for name, value in request.sizes.items()
        if name not in known
    ]
    if not 1 <= request.core_groups <= processor.core_groups:
        expected = f"1 to {processor.core_groups} core groups on {processor.name}"
        problems.append(Problem(file="--core-groups", key="", value=request.core_groups, expected=expected))
    if problems:
        raise BadInput(problems)
    return operation, {**operation.defaults, **request.sizes}


def _parts(operation: Operation, sizes: Sizes, request: KernelRequest) -> tuple[Part, ...]:
    """The launches of the core group with the largest share."""
    share = -(-sizes[operation.divided] // request.core_groups)
    return operation.build({**sizes, operation.divided: share}, request.dtype)


def _times(machine: MachineSpec, parts: Sequence[Part]) -> list[KernelTiming]:
    clock = KernelClock(machine.processor)
    problems: list[Problem] = []
    timings = []
    for part in parts:
        try:
            timings.append(clock.time(part.kernel))
        except InfeasiblePlan as error:
            expected = f"at least {error.needed} B for the smallest tile of {error.kernel}"
            file, found = f"machine {machine.name}", f"{error.available} B"
            problems.append(Problem(file=file, key="processor.cpe.ldm", value=found, expected=expected))
    if problems:
        raise BadInput(problems)
    return timings


def _flops(operation: Operation, sizes: Sizes, timings: Sequence[KernelTiming], core_groups: int) -> int:
    """Useful operations of one launch: by definition, else as the kernels count them."""
    if operation.flops is not None:
        return operation.flops(sizes)
    return core_groups * sum(timing.flops for timing in timings)


def _kernel(part: Part, segment: Segment) -> dict[str, Any]:
    return {"kernel": part.kernel.name, "seconds": segment.seconds, "breakdown": segment.shares}


def _error(processor: ProcessorSpec, parts: Sequence[Part], request: KernelRequest) -> float:
    """The largest relative error of any array that one core group's tile programs write, on random numbers."""
    rng = np.random.default_rng(request.seed)
    tiles: dict[str, Array] = {}
    for part in parts:
        for parameter in part.kernel.parameters():
            name = part.arrays[parameter.name]
            if name not in tiles:
                tiles[name] = _numbers(parameter.name, parameter.shape, part, rng, request.dtype)
    whole = {name: array.copy() for name, array in tiles.items()}
    worst = 0.0
    for part in parts:
        compute_kernel(part.kernel, processor=processor, data=_views(part, tiles))
        part.kernel.reference(_views(part, whole))
        for parameter in part.kernel.parameters():
            if parameter.use != "in":
                name = part.arrays[parameter.name]
                scale = float(np.max(np.abs(whole[name]))) or 1.0
                worst = max(worst, float(np.max(np.abs(tiles[name] - whole[name]))) / scale)
    return worst


def _views(part: Part, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {
        parameter.name: arrays[part.arrays[parameter.name]].reshape(parameter.shape)
        for parameter in part.kernel.parameters()
    }


def _numbers(name: str, shape: tuple[int, ...], part: Part, rng: np.random.Generator, dtype: DTypeName) -> Array:
    """Random numbers that the parameter may have."""
    found: Array = rng.standard_normal(shape).astype(DTYPES[dtype])
    if name == "targets":  # label and weight of each row
        classes = next(each.shape[1] for each in part.kernel.parameters() if each.name == "logits")
        found[:, 0] = rng.integers(0, classes, shape[0])
    if name in ("hyper", "square"):  # rates, decays and mean squares are never negative
        found = np.abs(found) % 1
    return found
