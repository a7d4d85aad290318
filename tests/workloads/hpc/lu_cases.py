"""Small factorisations for the tests."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.clock import KernelClock
from sim.machine.load import load_machine
from sim.machine.spec import MachineSpec
from sim.network.topology import Topology
from workloads.hpc.hpl_spec import HplMapping, LuProblem
from workloads.hpc.lu_costs import LuCosts
from workloads.hpc.lu_kernels import LuKernels
from workloads.hpc.lu_matrix import LuMatrix
from workloads.hpc.lu_messages import LuMessages
from workloads.hpc.numerics import Numerics
from workloads.hpc.process_grid import ProcessGrid


@cache
def machine() -> MachineSpec:
    return load_machine("sunway_taihulight")


@cache
def clock() -> KernelClock:
    return KernelClock(machine().processor)


def costs(*, blocks: int, block: int, rows: int, columns: int, **choices: Any) -> LuCosts:
    mapping = HplMapping(**{"leaf": 4, "update_columns": 32, **choices})
    grid = ProcessGrid(rows=rows, columns=columns, order=mapping.order)
    ranks = 4 if mapping.process == "core_group" else 1
    topology = Topology(network=machine().network, nodes=-(-grid.processes // ranks), ranks_per_node=ranks)
    return LuCosts(
        LuProblem(blocks=blocks, block=block, grid=grid),
        LuKernels(block, mapping, clock()),
        LuMessages(grid, mapping, topology),
    )


def matrix(costs: LuCosts, *, seed: int = 0, numerics: Numerics = "layer") -> LuMatrix:
    """A random system, dealt out."""
    random, order = np.random.default_rng(seed), costs.problem.order
    system: NDArray[np.float64] = random.standard_normal((order, order + 1))
    return LuMatrix(
        costs.problem,
        costs.kernels.mapping,
        machine().processor,
        system[:, :-1].copy(),
        system[:, -1].copy(),
        numerics=numerics,
    )
