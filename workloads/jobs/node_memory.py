"""Main memory that a training step needs on each core group, and the largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Need:
    """Bytes that a batch needs, and bytes below which no larger batch gets."""

    total: int
    certain: int


def largest_batch(needed: Callable[[int], Need], *, batch: int, available: int, least: int = 1) -> int | None:
    """The most samples of a core group, below ``batch``, that need no more bytes than are ``available``.

    None if no number from ``least`` on fits. A larger batch may need less than a smaller one, where plans keep less.
    """
    low, high = least - 1, batch
    if high <= least:
        return None
    known = {high: needed(high)}
    while high - low > 1:  # until all from ``high`` on certainly need too much
        middle = (low + high) // 2
        if low in known and known[high].certain > known[low].certain:  # nearly a straight line: aim at where it crosses
            slope = (known[high].certain - known[low].certain) / (high - low)
            aimed = low + int((available - known[low].certain) / slope)
            middle = min(max(aimed, low + 1), high - 1)
        known[middle] = needed(middle)
        if known[middle].certain <= available:
            low = middle
        else:
            high = middle
    for samples in range(high - 1, least - 1, -1):
        found = known.get(samples) or needed(samples)
        if found.total <= available:
            return samples
    return None
