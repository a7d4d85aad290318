"""The time of a launch as measurements have it: the MPE spawns the kernel on the CPEs and joins them."""

from __future__ import annotations

from functools import lru_cache

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import InfeasiblePlan, Kernel, UnsuitablePlan
from sim.chip.memory import PRIVATE, MemoryUse
from sim.chip.processor import total_seconds
from sim.machine.spec import ProcessorSpec
from taihusim.validation.inputs import Unpredictable


def launched_seconds(kernel: Kernel, processor: ProcessorSpec, *, memory: MemoryUse = PRIVATE) -> float:
    """Seconds of a kernel with its spawn and join.

    Raises Unpredictable if the kernel's plan does not fit the LDM or the shape.
    """
    try:
        return total_seconds([_clock(processor).time(kernel, memory=memory)], processor)
    except (InfeasiblePlan, UnsuitablePlan) as error:
        raise Unpredictable(str(error)) from error


@lru_cache(maxsize=8)
def _clock(processor: ProcessorSpec) -> KernelClock:
    """Rows share kernels: each is simulated once."""
    return KernelClock(processor)
