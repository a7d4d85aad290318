"""Conjugate gradients on a machine: the time of an iteration, its parts, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.sparse.sparse_rows import INDEX_BYTES, NUMBER_BYTES, POINTS
from sim.machine.spec import MachineSpec
from sim.network.topology import Topology
from sim.problems import BadInput, Problem
from workloads.hpc.cg_costs import CgCosts
from workloads.hpc.cg_spec import HpcgWorkload
from workloads.hpc.conjugate_gradient import ConjugateGradient, flops_per_iteration
from workloads.hpc.durations import seconds_of
from workloads.hpc.process_box import near_cube

TIMED = 2
"""Iterations; the first has no direction to go on from, all others are as the second."""


@dataclass(frozen=True, kw_only=True)
class HpcgRun:
    """``seconds`` of an iteration; ``shares``: fractions of it, which add up to 1. ``box``: processes in z, y, x."""

    box: tuple[int, int, int]
    seconds: float
    shares: Mapping[str, float]
    flops: float
    bytes_per_core_group: int

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.seconds


def cg_costs(workload: HpcgWorkload, *, machine: MachineSpec, clock: KernelClock, nodes: int) -> CgCosts:
    """The costs on ``nodes`` nodes, a process on each core group."""
    topology = Topology(network=machine.network, nodes=nodes, ranks_per_node=machine.processor.core_groups)
    return CgCosts(workload, near_cube(topology.ranks), topology, clock)


def run_hpcg(workload: HpcgWorkload, *, machine: MachineSpec, clock: KernelClock, nodes: int) -> HpcgRun:
    """An iteration on ``nodes`` nodes. Raises BadInput if the grid does not fit."""
    needed, available = bytes_per_core_group(workload), machine.processor.memory.bytes
    if needed > available:
        expected = f"fewer points: {needed:,} B per core group do not fit its {available:,} B"
        file = f"workload {workload.name}"
        raise BadInput([Problem(file=file, key="points", value=workload.points, expected=expected)])
    costs = cg_costs(workload, machine=machine, clock=clock, nodes=nodes)
    first, both = ConjugateGradient(costs), ConjugateGradient(costs)
    first.solve(1)
    both.solve(TIMED)
    spent = {name: both.spent[name] - first.spent[name] for name in both.spent}
    total = sum(spent.values())
    return HpcgRun(
        box=costs.box.counts,
        seconds=seconds_of(total),
        shares={name: each / total for name, each in spent.items()},
        flops=flops_per_iteration(costs),
        bytes_per_core_group=needed,
    )


def bytes_per_core_group(workload: HpcgWorkload) -> int:
    """Of all levels: coefficients and columns, and five vectors (x, b, what comes out, and on the finest p and r)."""
    row = POINTS * (NUMBER_BYTES + INDEX_BYTES) + 5 * NUMBER_BYTES
    return sum(workload.rows(level) * row for level in range(workload.levels))
