"""A kernel's tile program on one core group: timed, computed or both."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nnlib.kernels.kernel import Arguments, Kernel, array_dtype, empty_array
from sim.chip.core_group import CoreGroup
from sim.chip.counters import KernelTiming
from sim.chip.memory import PRIVATE, AddressSpace, Array, MemoryUse
from sim.chip.program import Trace
from sim.chip.scheduler import Scheduler
from sim.machine.spec import ProcessorSpec


def simulate(
    kernel: Kernel,
    *,
    processor: ProcessorSpec,
    memory: MemoryUse = PRIVATE,
    data: Mapping[str, Array] | None = None,
    record: bool = False,
    plainly: bool = False,
    limit: int | None = None,
    arithmetic: np.dtype[np.floating] | None = None,
    planned: ProcessorSpec | None = None,
) -> KernelTiming:
    """Time a kernel by its tile program on a core group that uses memory so.

    With ``data`` the same execution computes, in the tiles, and writes the results into the out arrays. ``record``
    keeps every interval. Either, and ``plainly``, simulates each iteration of each loop. Raises LimitReached at the
    head of a loop that lies more than ``limit`` ticks after the start. ``arithmetic``: see :class:`CoreGroup`.
    ``planned``: the program keeps the plan that it takes on this chip, which ``processor`` differs from in times and
    rates alone.
    """
    planner = (processor if planned is None else planned).computing_in(kernel.dtype)
    processor = processor.computing_in(kernel.dtype)
    scheduler = Scheduler(trace=Trace(), processor=processor, record=record, limit=limit)
    group = CoreGroup(
        processor=planner,
        costs=processor,
        numerics=data is not None,
        memory=memory,
        kernel=kernel.name,
        scheduler=None if record or plainly or data is not None else scheduler,
        trace=scheduler.trace,
        arithmetic=arithmetic,
    )
    kernel.program(group, place(kernel, alignment=processor.memory.alignment_bytes, memory=memory, data=data))
    group.finish()
    return scheduler.finish()


def place(
    kernel: Kernel, *, alignment: int, memory: MemoryUse = PRIVATE, data: Mapping[str, Array] | None = None
) -> Arguments:
    """The kernel's arguments in memory, one behind the other, with ``data`` or without."""
    space = AddressSpace(alignment=alignment, offset=memory.base_offset, common_offset=memory.common_offset)
    return {
        parameter.name: space.place(
            name=parameter.name,
            shape=parameter.shape,
            dtype=array_dtype(kernel, parameter),
            data=None if data is None else data[parameter.name],
            common=parameter.common,
        )
        for parameter in kernel.parameters()
    }


def compute_kernel(
    kernel: Kernel,
    *,
    processor: ProcessorSpec,
    data: Mapping[str, Array],
    arithmetic: np.dtype[np.floating] | None = None,
) -> None:
    """Compute only: the numerics in the tiles, results written into ``data``'s out arrays.

    ``arithmetic``: see :class:`CoreGroup`.
    """
    processor = processor.computing_in(kernel.dtype)
    group = CoreGroup(processor=processor, numerics=True, timing=False, kernel=kernel.name, arithmetic=arithmetic)
    kernel.program(group, place(kernel, alignment=processor.memory.alignment_bytes, data=data))
    group.finish()


def empty_arrays(kernel: Kernel) -> dict[str, Array]:
    """NaN-filled arrays of the kernel's arguments; integers are the smallest there are."""
    return {parameter.name: empty_array(kernel, parameter) for parameter in kernel.parameters()}
