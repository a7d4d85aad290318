"""What the parts of conjugate gradients cost on every core group, in picoseconds.

All processes have equal grids and do the same at the same time, so that one clock is exact: messages of a kind leave
everywhere at once and the slowest is waited for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pointwise.elementwise import SumCopies
from nnlib.kernels.reducing.axis_reduction import AxisReduce
from nnlib.kernels.sparse.sparse_rows import COLOURS, NUMBER_BYTES, PassKind, SparseRows, parities
from sim.network.collectives import collective
from sim.network.protocol import Protocol
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.topology import Topology
from workloads.hpc.cg_spec import HpcgWorkload
from workloads.hpc.durations import picoseconds
from workloads.hpc.message_pattern import MessagePattern, pattern_of
from workloads.hpc.node_costs import copy_time, kernel_time, launch_time
from workloads.hpc.process_box import Box, ProcessBox


@dataclass(eq=False)
class CgCosts:
    """Costs of ``workload`` on ``topology``, whose ranks are the processes of ``box``."""

    workload: HpcgWorkload
    box: ProcessBox
    topology: Topology
    clock: KernelClock
    patterns: dict[tuple[int, int], MessagePattern] = field(default_factory=dict)
    sums: int | None = None

    @property
    def protocol(self) -> Protocol:
        return Protocol.of(self.topology.network)

    @property
    def launch(self) -> int:
        return launch_time(self.clock.processor, persistent_threads=self.workload.persistent_threads)

    def kernel(self, kernel: Kernel) -> int:
        """One launch."""
        return kernel_time(kernel, self.clock) + self.launch

    def rows_pass(self, kind: PassKind, level: int) -> int:
        """A pass over the rows of one colour; all colours have as many and take as long."""
        return self.kernel(SparseRows(kind, self.workload.shape(level), 0))

    def vector_sum(self, level: int) -> int:
        """A vector added to a multiple of another one."""
        return self.kernel(SumCopies(count=2, elements=self.workload.rows(level), dtype="fp64"))

    def injection(self, level: int) -> int:
        """Every eighth number of a level to or from the next one."""
        return self.kernel(SumCopies(count=2, elements=self.workload.rows(level + 1), dtype="fp64"))

    def local_dot(self) -> int:
        """Products of two vectors' numbers, added up on each core group."""
        return self.kernel(AxisReduce("sum", 1, 2 * self.workload.rows(0), 1, "fp64"))

    def global_sum(self) -> int:
        """One number of every process, added up for all of them."""
        if self.sums is None:
            schedule = collective("allreduce", self.workload.collective, topology=self.topology, elements=1)
            found = run(
                schedule,
                topology=self.topology,
                protocol=self.protocol,
                reduction=ReductionCost(seconds_per_byte=0.0),
                start=np.zeros(self.topology.ranks),
                item_bytes=NUMBER_BYTES,
            )
            self.sums = int(picoseconds(found.finish.max()))
        return self.sums

    def colour_exchange(self, level: int, colour: int) -> int:
        """A colour's points on the faces to the neighbours that they touch: a message along each axis."""
        near = parities(colour)
        steps = [-1 if each == 0 else 1 for each in near]
        return sum(
            self._message(axis, steps[axis], size)
            for axis, size in enumerate(face_sizes(self.workload.shape(level), colour=True))
        )

    def exchange(self, level: int) -> int:
        """All points on the faces, both ways along each axis."""
        sizes = face_sizes(self.workload.shape(level), colour=False)
        return sum(self._message(axis, step, size) for axis, size in enumerate(sizes) for step in (-1, 1))

    @property
    def colours(self) -> range:
        return range(COLOURS)

    def _message(self, axis: int, step: int, numbers: int) -> int:
        """Packed by the MPE, sent, and unpacked."""
        if self.box.counts[axis] == 1:
            return 0
        if (axis, step) not in self.patterns:
            source, target = self.box.neighbours(axis, step)
            self.patterns[axis, step] = pattern_of(
                topology=self.topology, protocol=self.protocol, source=source, destination=target
            )
        size = numbers * NUMBER_BYTES
        copies = copy_time(self.clock.processor, 2 * size)
        return int(self.patterns[axis, step].picoseconds(np.array(size))) + int(copies)


def face_sizes(shape: Box, *, colour: bool) -> Box:
    """Numbers of a message along z, y and x; x is exchanged first, and each axis takes along what the others brought.

    Of a ``colour`` every other point in both directions.
    """
    z, y, x = shape
    if colour:
        return (y // 2 + 1) * (x // 2 + 1), z // 2 * (x // 2 + 1), z // 2 * (y // 2)
    return (y + 2) * (x + 2), z * (x + 2), z * y
