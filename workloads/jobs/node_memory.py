"""Main memory that a training step needs on each core group, and the largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from nnlib.optim import Optimizer
from nnlib.precision import DTYPES
from nnlib.program import Program
from nnlib.update import state_kinds
from workloads.jobs.node_step import NodeMemory
from workloads.mapping import Mapping


def node_memory(*, program: Program, optimizer: Optimizer, mapping: Mapping, sharers: int) -> NodeMemory:
    """Memory of ``program`` and of the update of its parameters, which ``sharers`` core groups share out."""
    sizes: dict[str, int] = {}
    for buffer in program.buffers.values():
        sizes[buffer.role] = sizes.get(buffer.role, 0) + buffer.nbytes
    item = DTYPES[mapping.dtype].itemsize
    gradients = [prod(buffer.shape) for buffer in program.buffers.values() if buffer.role == "gradient"]
    constant = sum(size for role, size in sizes.items() if role != "activation")
    copies = len(state_kinds(optimizer)) + int(mapping.fixed is not None and mapping.fixed.master)
    inputs = sizes.get("input", 0)
    return NodeMemory(
        weights=sizes.get("parameter", 0) + sizes.get("statistic", 0),
        gradients=sizes.get("gradient", 0),
        optimiser=copies * item * -(-sum(gradients) // sharers),
        activations=program.memory_bytes - constant,
        buffers=2 * inputs + largest_bucket(gradients, item=item, limit=mapping.bucket_bytes),
    )


def largest_bucket(sizes: list[int], *, item: int, limit: int) -> int:
    """Bytes of the largest bucket that gradients of ``sizes`` elements can come to: ``limit`` and less than one more.

    Never more than all of them.
    """
    return item * min(sum(sizes), -(-limit // item) - 1 + max(sizes, default=0))


def largest_batch(needed: Callable[[int], int], *, batch: int, available: int, least: int = 1) -> int | None:
    """The most samples of a core group, below ``batch``, for which ``needed(samples)`` bytes are ``available``.

    None if not even ``least`` fit. ``needed`` must not fall with the samples.
    """
    low, high = least - 1, batch
    if high <= least:
        return None
    bounds = {high: needed(high)}
    while high - low > 1:
        middle = (low + high) // 2
        if low in bounds and bounds[high] > bounds[low]:  # memory is nearly a straight line: aim at where it crosses
            slope = (bounds[high] - bounds[low]) / (high - low)
            aimed = low + int((available - bounds[low]) / slope)
            middle = min(max(aimed, low + 1), high - 1)
        bounds[middle] = needed(middle)
        if bounds[middle] <= available:
            low = middle
        else:
            high = middle
    return low if low >= least else None
