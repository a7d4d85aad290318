"""What a kernel of a program makes the MPE launch: itself once, or others in its place, which it names ``launches``.

What the MPE runs by itself, without any CPE, says how long in ``mpe_seconds``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from nnlib.kernels.kernel import Kernel
from sim.machine.spec import ProcessorSpec


def launches_of(kernel: Kernel) -> Iterator[tuple[Kernel, int]]:
    """The kernels that run on the core group, each by itself, and how often."""
    others: Iterable[tuple[Kernel, int]] | None = getattr(kernel, "launches", None)
    yield from ((kernel, 1),) if others is None else others


def mpe_seconds(kernel: Kernel, processor: ProcessorSpec) -> float | None:
    """Time of a kernel that the MPE runs by itself; None for those of the CPEs."""
    seconds: Callable[[ProcessorSpec], float] | None = getattr(kernel, "mpe_seconds", None)
    return None if seconds is None else seconds(processor)
