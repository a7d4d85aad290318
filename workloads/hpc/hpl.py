"""A Linpack run on a machine: the grid, the order, the time, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt

from nnlib.kernels.clock import KernelClock
from sim.machine.spec import MachineSpec
from sim.network.topology import Topology
from sim.problems import BadInput, Problem
from workloads.hpc.hpl_spec import HplWorkload, LuProblem, grid_rows
from workloads.hpc.lu_costs import LuCosts
from workloads.hpc.lu_kernels import NUMBER_BYTES, LuKernels
from workloads.hpc.lu_messages import LuMessages
from workloads.hpc.lu_timing import LuTiming, losses, time_factorisation
from workloads.hpc.process_grid import ProcessGrid


@dataclass(frozen=True, kw_only=True)
class HplRun:
    """A Linpack run on ``nodes`` nodes."""

    costs: LuCosts
    nodes: int
    timing: LuTiming
    bytes_per_core_group: int

    @property
    def problem(self) -> LuProblem:
        return self.costs.problem

    @cached_property
    def losses(self) -> dict[str, float]:
        """See :func:`workloads.hpc.lu_timing.losses`."""
        return losses(self.costs, self.timing)

    @property
    def flops_per_second(self) -> float:
        """As the benchmark reports it."""
        return self.problem.flops / self.timing.seconds


def lu_costs(workload: HplWorkload, *, machine: MachineSpec, clock: KernelClock, nodes: int) -> LuCosts:
    """The costs of the run on ``nodes`` nodes. Raises BadInput if the grid or the matrix does not fit the nodes."""
    mapping, groups = workload.mapping, machine.processor.core_groups
    ranks_per_node = groups if mapping.process == "core_group" else 1
    topology = Topology(network=machine.network, nodes=nodes, ranks_per_node=ranks_per_node)
    processes = topology.ranks
    rows = grid_rows(processes) if mapping.rows is None else mapping.rows
    file = f"workload {workload.name}"
    if processes % rows:
        expected = f"a number that divides the {processes:,} processes on {nodes:,} nodes"
        raise BadInput([Problem(file=file, key="mapping.rows", value=rows, expected=expected)])
    grid = ProcessGrid(rows=rows, columns=processes // rows, order=mapping.order)
    order = workload.order if nodes == workload.order_nodes else workload.order * sqrt(nodes / workload.order_nodes)
    blocks = max(1, int(order / workload.block))
    problem = LuProblem(blocks=blocks, block=workload.block, grid=grid)
    needed = bytes_per_core_group(problem, sharers=groups // ranks_per_node)
    if needed > machine.processor.memory.bytes:
        most = order * sqrt(machine.processor.memory.bytes / needed)
        expected = f"an order of at most about {int(most):,} on {nodes:,} nodes: {needed:,} B per core group do not fit"
        raise BadInput([Problem(file=file, key="problem.order", value=problem.order, expected=expected)])
    return LuCosts(
        problem=problem,
        kernels=LuKernels(workload.block, mapping, clock),
        messages=LuMessages(grid, mapping, topology),
    )


def bytes_per_core_group(problem: LuProblem, *, sharers: int) -> int:
    """The largest part of the matrix, two panels and a block row, over the ``sharers`` core groups of a process."""
    block, grid = problem.block, problem.grid
    rows, columns = -(-problem.blocks // grid.rows) * block, -(-problem.blocks // grid.columns) * block + 1
    return -(-(rows * columns + 2 * rows * block + columns * block) * NUMBER_BYTES // sharers)


def run_hpl(workload: HplWorkload, *, machine: MachineSpec, clock: KernelClock, nodes: int) -> HplRun:
    """The run's time on ``nodes`` nodes. Raises BadInput as :func:`lu_costs` does."""
    costs = lu_costs(workload, machine=machine, clock=clock, nodes=nodes)
    return HplRun(
        costs=costs,
        nodes=nodes,
        timing=time_factorisation(costs),
        bytes_per_core_group=bytes_per_core_group(costs.problem, sharers=costs.kernels.sharers),
    )
