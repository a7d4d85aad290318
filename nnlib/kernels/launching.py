"""What a kernel of a program makes the MPE launch: itself once, or others in its place."""

from __future__ import annotations

from collections.abc import Iterator

from nnlib.kernels.kernel import Kernel
from nnlib.kernels.swcaffe.on_mpe import Clear, OnMpe
from nnlib.kernels.swcaffe.shared import Shared
from nnlib.kernels.swcaffe.slices import Slices
from sim.chip.mpe import clear_seconds
from sim.machine.spec import ProcessorSpec


def launches_of(kernel: Kernel) -> Iterator[tuple[Kernel, int]]:
    """The kernels that run on the core group, each by itself, and how often."""
    match kernel:
        case Slices():
            yield from kernel.launches
        case Shared():
            yield kernel.share, 1
        case _:
            yield kernel, 1


def mpe_seconds(kernel: Kernel, processor: ProcessorSpec) -> float | None:
    """Time of a kernel that the MPE runs by itself; None for those of the CPEs."""
    match kernel:
        case OnMpe():
            return kernel.seconds(processor)
        case Clear():
            return clear_seconds(processor, nbytes=kernel.nbytes)
        case _:
            return None
