"""From a lowered program to what a node does with it: kernels timed, gradients packed, memory counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from nnlib.optim.clip import Clip
from nnlib.optim.optimizers import Optimizer
from nnlib.parts import PARTS
from nnlib.precision import DTYPES
from nnlib.program import Program
from sim.chip.processor import Segment, add_shares
from workloads.jobs.node_answer import NodeAnswer
from workloads.jobs.node_memory import node_memory
from workloads.jobs.node_step import Blob, Bucket, NodeStep
from workloads.jobs.node_timer import NodeTimer, busiest_label


def build_node_step(
    *,
    timer: NodeTimer,
    program: Program,
    samples: int,
    optimizer: Optimizer,
    clip: Clip | None = None,
) -> NodeStep:
    """The step of ``program``, lowered for ``samples``.

    Raises InfeasiblePlan if a kernel finds no tile that fits the LDM.
    """
    mapping = timer.mapping
    item = DTYPES[mapping.dtype].itemsize
    once, timed = timer.once(), list(timer.program(program))
    begin = sum(segment.seconds for segment in once)
    blobs = _blobs(program, [segment for _, segment in timed], begin=begin)
    ready = sorted(blobs, key=lambda blob: (blob.ready_seconds, blob.elements))
    packed = list(packed_buckets(ready, item=item, limit=mapping.bucket_bytes))
    summed = [timer.sum_groups(bucket.elements) for bucket in packed]
    segments = [*once, *(segment for _, segment in timed), *(part for parts in summed for part in parts)]
    gradient_seconds = sum(segment.seconds for segment in segments)
    update = timer.update(optimizer=optimizer, sizes=[blob.elements for blob in blobs], clip=clip)
    by_part: dict[str, float] = dict.fromkeys(map(str, PARTS), 0.0)
    for launch, segment in timed:
        by_part[launch.part] += segment.seconds
    others = [*once, *update, *(part for parts in summed for part in parts)]
    by_part["others"] += sum(segment.seconds for segment in others)
    forward = sum(segment.seconds for launch, segment in timed if launch.phase == "forward")
    return NodeStep(
        samples=samples,
        active_core_groups=timer.active_core_groups,
        forward_seconds=begin + forward,
        backward_seconds=sum(segment.seconds for launch, segment in timed if launch.phase != "forward"),
        gradient_seconds=gradient_seconds,
        update_seconds=sum(segment.seconds for segment in update),
        buckets=_with_sums(packed, summed),
        blobs=tuple(ready),
        reasons=add_shares([*segments, *update]),
        by_part=by_part,
        memory=node_memory(program=program, optimizer=optimizer, mapping=mapping, sharers=timer.sharers),
        flops=timer.flops(program),
        moved_bytes=sum(segment.memory_bytes for segment in [*segments, *update]),
        busiest=busiest_label(timed),
        launches=len(timed) + sum(len(parts) > 0 for parts in summed) + len(update),
        launch_seconds=timer.launch_seconds,
        item_bytes=item,
        statistics=tuple(prod(buffer.shape) for buffer in program.buffers.values() if buffer.role == "statistic"),
    )


def build_node_answer(*, timer: NodeTimer, program: Program, outputs: Sequence[str]) -> NodeAnswer:
    """A batch of ``program`` on one node; ``outputs`` name the buffers of the results."""
    timed = list(timer.program(program))
    segments = [*timer.once(), *(segment for _, segment in timed)]
    item = DTYPES[program.dtype].itemsize
    inputs = [buffer.name for buffer in program.buffers.values() if buffer.role == "input"]
    arriving, leaving = (
        sum(prod(program.buffer(name).shape[1:]) for name in names) * item for names in (inputs, outputs)
    )
    return NodeAnswer(
        seconds=sum(segment.seconds for segment in segments),
        reasons=add_shares(segments),
        input_bytes=arriving,
        output_bytes=leaving,
        memory_bytes=program.memory_bytes,
        moved_bytes=sum(segment.memory_bytes for segment in segments),
        active_core_groups=timer.active_core_groups,
        core_groups=timer.machine.processor.core_groups,
        flops=timer.flops(program),
        busiest=busiest_label(timed),
        launches=len(timed),
        launch_seconds=timer.launch_seconds,
    )


def _blobs(program: Program, segments: Sequence[Segment], *, begin: float) -> list[Blob]:
    """The gradients, each ready after the launch that writes it last; launches ``begin`` then."""
    ends = begin + np.cumsum([segment.seconds for segment in segments])
    return [
        Blob(
            name=buffer.name.removeprefix("grad:"),
            elements=prod(buffer.shape),
            ready_seconds=float(ends[buffer.last]),
        )
        for buffer in program.buffers.values()
        if buffer.role == "gradient"
    ]


def packed_buckets(blobs: Sequence[Blob], *, item: int, limit: int) -> Iterator[Bucket]:
    """Gradients in the order in which they become ready, packed up to ``limit`` bytes, not yet added up in the node."""
    elements = 0
    for number, blob in enumerate(blobs):
        elements += blob.elements
        if elements * item >= limit or number == len(blobs) - 1:
            yield Bucket(elements=elements, ready_seconds=blob.ready_seconds)
            elements = 0


def _with_sums(packed: Sequence[Bucket], summed: Sequence[Sequence[Segment]]) -> tuple[Bucket, ...]:
    """The buckets once the core groups' sums are done, which put off all that comes after them."""
    found = []
    adding = 0.0
    for bucket, parts in zip(packed, summed, strict=True):
        adding += sum(part.seconds for part in parts)
        found.append(Bucket(elements=bucket.elements, ready_seconds=bucket.ready_seconds + adding))
    return tuple(found)
