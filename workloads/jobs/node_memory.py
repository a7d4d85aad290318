"""Main memory that a training step needs on each core group, and the largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Final

from nnlib.optim.optimizers import Optimizer
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


MOST_TRIED: Final = 50


@dataclass(frozen=True)
class Need:
    """Bytes that a batch needs, and bytes below which no larger batch gets."""

    total: int
    certain: int


def largest_batch(needed: Callable[[int], Need], *, batch: int, available: int, least: int = 1) -> int | None:
    """The most samples of a core group, below ``batch``, that need no more bytes than are ``available``.

    None if no number from ``least`` on fits. A larger batch may need less than a smaller one, where plans keep less:
    the ``MOST_TRIED`` largest numbers that may fit are tried one by one, smaller ones as if memory grew with them.
    """
    if batch <= least:
        return None
    known: dict[int, Need] = {batch: needed(batch)}

    def crossing(bytes_of: Callable[[Need], int], high: int) -> int:
        """The last number below ``high`` that fits, if memory grows with the numbers."""
        low = least - 1
        while high - low > 1:
            middle = (low + high) // 2
            if low in known and bytes_of(known[high]) > bytes_of(known[low]):  # nearly a line: aim at where it crosses
                slope = (bytes_of(known[high]) - bytes_of(known[low])) / (high - low)
                aimed = low + int((available - bytes_of(known[low])) / slope)
                middle = min(max(aimed, low + 1), high - 1)
            known[middle] = known.get(middle) or needed(middle)
            if bytes_of(known[middle]) <= available:
                low = middle
            else:
                high = middle
        return low

    most = crossing(lambda need: need.certain, batch)  # all above certainly need too much
    for samples in range(most, max(least - 1, most - MOST_TRIED), -1):
        known[samples] = known.get(samples) or needed(samples)
        if known[samples].total <= available:
            return samples
    rest = most - MOST_TRIED + 1  # needs too much
    found = crossing(lambda need: need.total, rest) if rest > least else least - 1
    return found if found >= least else None
