"""The time of a launch as measurements have it: the MPE spawns the kernel on the CPEs and joins them."""

from __future__ import annotations

from nnlib.kernels.clock import simulate
from nnlib.kernels.kernel import InfeasiblePlan, Kernel, UnsuitablePlan
from sim.chip.counters import KernelTiming
from sim.chip.memory import PRIVATE, MemoryUse
from sim.machine.spec import ProcessorSpec
from sim.time import seconds_from_ticks
from taihusim.validation.inputs import Unpredictable


def with_launch(timing: KernelTiming, processor: ProcessorSpec) -> float:
    """Seconds of a kernel with its spawn and join."""
    return processor.mpe.launch_seconds + seconds_from_ticks(timing.ticks, clock_hertz=processor.clock_hertz)


def launched_seconds(kernel: Kernel, processor: ProcessorSpec, *, memory: MemoryUse = PRIVATE) -> float:
    """The same, simulated. Raises Unpredictable if the kernel's plan does not fit the LDM or the shape."""
    try:
        return with_launch(simulate(kernel, processor=processor, memory=memory), processor)
    except (InfeasiblePlan, UnsuitablePlan) as error:
        raise Unpredictable(str(error)) from error
