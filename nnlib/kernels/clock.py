"""Times of kernels on one core group, each simulated once: times do not depend on data."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from nnlib.kernels.dependence import may_differ, noting
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.store import KernelStore, key
from sim.chip.counters import KernelTiming
from sim.chip.memory import PRIVATE, MemoryUse
from sim.machine.spec import ProcessorSpec


@dataclass
class KernelClock:
    """Remembers the timing of every kernel on ``processor``: its description is the key. ``store``: also on disk.

    ``base``: the clock of the chip that kernels keep the plans of, if it is another one, see
    :func:`nnlib.kernels.simulation.simulate`. Those whose time depends on nothing in which the two differ take as long
    as there.
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
            from nnlib.kernels.simulation import simulate  # what is known need not be simulated

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
                from nnlib.kernels.simulation import simulate

                names: set[str] = set()
                simulate(kernel, processor=noting(self.processor, names), planned=self.processor, memory=memory)
                found = frozenset(names)
                if self.store is not None:
                    self.store.write(entry, json.dumps(sorted(found)))
            self.reads[kernel, memory] = found
        return found
