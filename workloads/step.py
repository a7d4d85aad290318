"""The time of one data-parallel training step, from the launches of a core group to the last rank's finish.

Every node runs the same launches; per-rank clocks begin to differ in the all-reduce, where links are shared. A
gradient bucket's all-reduce may run under the rest of the backward pass; what does not is exposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.elementwise import SumCopies
from nnlib.kernels.kernel import Kernel
from nnlib.optim import Optimizer
from nnlib.precision import DTYPES, DTypeName
from nnlib.program import Program
from nnlib.update import update_kernels
from sim.chip.processor import Segment, add_shares, group_sync_segment, launch_segment
from sim.machine.spec import MachineSpec
from sim.network.allreduce import allreduce
from sim.network.ranks import run
from sim.network.topology import Topology


@dataclass(frozen=True)
class StepPlan:
    """What decides a step's time besides the machine and the lowered program."""

    nodes: int
    ranks_per_node: int
    active_core_groups: int
    collective: str
    bucket_bytes: int
    overlap: bool
    persistent_threads: bool


@dataclass(frozen=True)
class StepTiming:
    """Seconds of one step: the slowest rank's. ``shares`` (fractions) add up to 1."""

    seconds: float
    compute_seconds: float
    communication_seconds: float
    communication_exposed_seconds: float
    shares: Mapping[str, float]
    busiest_kernel: str


def time_step(
    *, machine: MachineSpec, program: Program, optimizer: Optimizer, plan: StepPlan, clock: KernelClock
) -> StepTiming:
    """Time of one step from simultaneous starts of all ranks."""
    node = _Node(machine=machine, program=program, optimizer=optimizer, plan=plan, clock=clock)
    ready, backward = node.gradients()
    topology = Topology(network=machine.network, nodes=plan.nodes, ranks_per_node=plan.ranks_per_node)
    buckets = _buckets(ready=ready, limit=plan.bucket_bytes)
    computed = sum(segment.seconds for segment in backward)
    finish = np.full(topology.ranks, computed)
    busy = np.zeros(topology.ranks)
    for bucket in buckets:
        start = np.maximum(busy, bucket.seconds if plan.overlap else computed)
        result = run(
            allreduce(plan.collective, topology=topology, count=bucket.bytes),
            topology=topology,
            start=start,
            reduce_seconds_per_byte=machine.network.reduce_seconds_per_byte,
        )
        busy = result.finish
    finish = np.maximum(finish, busy)
    update = node.update()
    after = sum(segment.seconds for segment in update)
    seconds = float(finish.max()) + after
    exposed = float(finish.max()) - computed
    shares = add_shares([*backward, *update])
    shares["communication_exposed"] = exposed
    return StepTiming(
        seconds=seconds,
        compute_seconds=computed + after,
        communication_seconds=0.0,
        communication_exposed_seconds=exposed,
        shares={name: value / seconds for name, value in shares.items()},
        busiest_kernel=node.busiest(),
    )
