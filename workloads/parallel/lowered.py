"""A model cut by a strategy and lowered: what one rank of each stage does for a micro-batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import workloads.parallel.lowering  # noqa: F401  registers the rules of the layers that only strategies have
from nnlib.kernels.clock import KernelClock
from nnlib.lowering import lower_gradients
from nnlib.lowering.choice import Choice
from nnlib.lowering.planner import Planner
from nnlib.model import Model
from nnlib.precision import DTYPES
from nnlib.program import Program
from sim.machine.spec import MachineSpec
from sim.network.schemes import Scheme
from sim.network.topology import Topology
from sim.problems import BadInput, Problem
from workloads.jobs.node_timer import NodeTimer
from workloads.mapping import Mapping
from workloads.parallel.group_times import GroupTimes
from workloads.parallel.pipeline import Stages, cut_into_stages
from workloads.parallel.placement import Placement
from workloads.parallel.stage_work import exchange_seconds, node_seconds
from workloads.parallel.strategy import Strategy
from workloads.parallel.tensor import Division, divide


@dataclass(frozen=True, kw_only=True)
class LoweredStrategy:
    """``program`` is that of a core group for its part of a micro-batch of ``samples`` samples, all stages' launches.

    ``timer`` times the core groups of a rank's node; ``together`` samples are computed at a time on one of them.
    """

    strategy: Strategy
    replicas: int
    micro_batches: int
    samples: int
    together: int
    division: Division
    program: Program
    stages: Stages
    timer: NodeTimer


def lower_strategy(
    *,
    model: Model,
    strategy: Strategy,
    machine: MachineSpec,
    mapping: Mapping,
    clock: KernelClock,
    scheme: Scheme,
    nodes: int,
    global_batch: int,
) -> LoweredStrategy:
    """The strategy for ``global_batch`` samples on ``nodes`` nodes.

    Stages are balanced by the times of kernels and of exchanges in tensor groups. Raises BadInput, naming what to
    change, if it divides neither ranks, samples nor the model, and InfeasiblePlan if a kernel finds no tile that fits
    the LDM.
    """
    if mapping.fixed is not None:
        expected = "data with a precision of integers, which strategies do not divide"
        raise BadInput([_problem(strategy, "", mapping.precision, expected)])
    replicas = strategy.replicas(nodes * mapping.ranks_per_node)
    if global_batch % replicas:
        expected = (
            f"a multiple of the {replicas:,} replicas; change --global-batch or --batch-per-node, nodes, tensor or "
            "pipeline"
        )
        raise BadInput([_problem(strategy, "global batch", global_batch, expected)])
    groups = machine.processor.core_groups
    alone = mapping.ranks_per_node > 1
    micro_batches = strategy.parts_of(global_batch // replicas, sharers=1 if alone else groups)
    samples = global_batch // replicas // micro_batches
    together = samples if alone else -(-samples // groups)
    active = groups if alone else min(groups, samples)
    timer = NodeTimer(machine=machine, mapping=mapping, clock=clock, active_core_groups=active)
    division = divide(model, strategy.tensor)
    if strategy.pipeline > len(division.graph.nodes):
        expected = f"at most {len(division.graph.nodes)} stages, one for each layer"
        raise BadInput([_problem(strategy, "pipeline", strategy.pipeline, expected)])
    program = _program(division, clock, machine, mapping, together)
    whole = Stages(division.graph, (0, len(division.graph.nodes)))
    weights = node_seconds(timer=timer, program=program, stages=whole)
    if strategy.tensor > 1 and strategy.pipeline > 1:
        times = GroupTimes(
            topology=Topology(network=machine.network, nodes=nodes, ranks_per_node=mapping.ranks_per_node),
            placement=Placement(tensor=strategy.tensor, stages=strategy.pipeline, replicas=replicas),
            scheme=scheme,
            item_bytes=DTYPES[mapping.dtype].itemsize,
        )
        exchanges = exchange_seconds(whole, samples=samples, times=times)
        weights = [kernels + exchange for kernels, exchange in zip(weights, exchanges, strict=True)]
    return LoweredStrategy(
        strategy=strategy,
        replicas=replicas,
        micro_batches=micro_batches,
        samples=samples,
        together=together,
        division=division,
        program=program,
        stages=cut_into_stages(division.graph, weights, strategy.pipeline),
        timer=timer,
    )


def lowered_again(lowered: LoweredStrategy, *, mapping: Mapping, samples: int, micro_batches: int) -> LoweredStrategy:
    """The same division and stages for other micro-batches, or a mapping that differs in what memory depends on."""
    machine = lowered.timer.machine
    together = samples if mapping.ranks_per_node > 1 else -(-samples // machine.processor.core_groups)
    return replace(
        lowered,
        strategy=mapping.strategy,
        micro_batches=micro_batches,
        samples=samples,
        together=together,
        program=_program(lowered.division, lowered.timer.clock, machine, mapping, together),
        timer=replace(lowered.timer, mapping=mapping),
    )


def _program(division: Division, clock: KernelClock, machine: MachineSpec, mapping: Mapping, together: int) -> Program:
    groups = 1 if mapping.ranks_per_node > 1 else machine.processor.core_groups
    return lower_gradients(
        model=division.models[0],
        batch=together,
        dtype=mapping.dtype,
        alignment=machine.processor.memory.alignment_bytes,
        recompute=mapping.recompute,
        choice=Choice(library=mapping.library, core_groups=groups, planner=Planner(clock)),
    )


def _problem(strategy: Strategy, key: str, value: object, expected: str) -> Problem:
    return Problem(file=f"strategy {strategy}", key=key, value=value, expected=expected)
