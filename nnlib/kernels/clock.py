"""Times of kernels on one core group, each simulated once: times do not depend on data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nnlib.kernels.dependence import may_differ, noting
from nnlib.kernels.kernel import Arguments, Kernel, array_dtype, empty_array
from nnlib.kernels.store import KernelStore, key
from sim.chip.core_group import CoreGroup
from sim.chip.counters import KernelTiming
from sim.chip.memory import PRIVATE, AddressSpace, Array, MemoryUse
from sim.chip.program import Trace
from sim.chip.scheduler import Scheduler
from sim.machine.spec import ProcessorSpec


@dataclass
class KernelClock:
    """Remembers the timing of every kernel on ``processor``: its description is the key. ``store``: also on disk.

    ``base``: the clock of the chip that kernels keep the plans of, if it is another one, see :func:`simulate`. Those
    whose time depends on nothing in which the two differ take as long as there.
    """

    processor: ProcessorSpec
    store: KernelStore | None = None
    base: KernelClock | None = None
    known: dict[tuple[Kernel, MemoryUse], KernelTiming] = field(default_factory=dict)
    reads: dict[tuple[Kernel, MemoryUse], frozenset[str]] = field(default_factory=dict)

    def time(self, kernel: Kernel, *, memory: MemoryUse = PRIVATE, limit: int | None = None) -> KernelTiming:
        """Simulate the kernel, timing only, unless that is known already.

        Raises InfeasiblePlan if no tile fits, and LimitReached where it shows that it takes more than ``limit`` ticks.
        """
        timing = self.known.get((kernel, memory))
        if timing is None:
            timing = self.known[kernel, memory] = self._stored(kernel, memory, limit)
        return timing

    @property
    def planned(self) -> ProcessorSpec:
        """The chip that kernels have their plans for."""
        return self.processor if self.base is None else self.base.planned

    def _stored(self, kernel: Kernel, memory: MemoryUse, limit: int | None) -> KernelTiming:
        """From the store, or simulated and stored."""
        processor, planned, store = self.processor, self.planned, self.store
        timing = None if self.base is None else self._unchanged(kernel, memory, self.base)
        if timing is not None:
            return timing
        if store is not None:
            timing = store.timing(kernel, processor=processor, memory=memory, planned=planned)
        if timing is None:
            timing = simulate(kernel, processor=processor, memory=memory, limit=limit, planned=planned)
            if store is not None:
                store.keep(kernel, timing, processor=processor, memory=memory, planned=planned)
        return timing

    def _unchanged(self, kernel: Kernel, memory: MemoryUse, base: KernelClock) -> KernelTiming | None:
        """What it takes on the base's chip, if that cannot be different here."""
        timing = base.time(kernel, memory=memory)
        if base.base is None and not may_differ(
            timing, chip=base.processor, other=self.processor, read=base.read(kernel, memory=memory)
        ):
            return timing
        return None

    def read(self, kernel: Kernel, *, memory: MemoryUse = PRIVATE) -> frozenset[str]:
        """Which of its chip's latencies a kernel's time depends on, see :mod:`nnlib.kernels.dependence`."""
        found = self.reads.get((kernel, memory))
        if found is None:
            entry = key(kernel, processor=self.processor, memory=memory, what="latencies read")
            found = None if self.store is None else self.store.find(entry, frozenset)
            if found is None:
                names: set[str] = set()
                simulate(kernel, processor=noting(self.processor, names), planned=self.processor, memory=memory)
                found = frozenset(names)
                if self.store is not None:
                    self.store.write(entry, json.dumps(sorted(found)))
            self.reads[kernel, memory] = found
        return found


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
