"""A step under a parallel strategy, checked against memory and LDM, timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.precision import DTYPES
from sim.problems import BadInput, Problem
from taihusim.least_batch import least_batch
from taihusim.setup import Setup
from taihusim.strategy_memory import heaviest_stage, strategy_memory_problem
from taihusim.tile_problem import tile_problem
from workloads.jobs.gradients import mapped_scheme
from workloads.parallel.device import StrategyDevice
from workloads.parallel.execution import Execution
from workloads.parallel.lowered import LoweredStrategy, lower_strategy
from workloads.parallel.schedules import Collectives
from workloads.parallel.step import time_strategy
from workloads.parallel.strategy_timing import StrategyTiming

MOST_RANKS: Final = 256
"""Virtual ranks that compute numbers one after the other in bearable time."""


def strategy_step(setup: Setup, *, global_batch: int, nodes: int, seed: int | None = None) -> StrategyTiming:
    """The step of ``global_batch`` samples on ``nodes`` nodes under the mapping's strategy.

    ``seed``: ranks are unequal, as the machine's noise has it. Raises BadInput, with the way out, where the strategy
    does not divide ranks, samples or model, and where memory or LDM do not suffice.
    """
    mapping, recipe = setup.mapping, setup.workload.recipe
    try:
        lowered = _lowered(setup, global_batch, nodes)
        _check(setup, lowered, nodes)
        return time_strategy(
            lowered,
            optimizer=recipe.optimizer,
            scheme=mapped_scheme(machine=setup.machine, mapping=setup.mapping),
            nodes=nodes,
            clip=recipe.clip,
            seed=seed,
        )
    except InfeasiblePlan as error:
        raise BadInput([tile_problem(setup.machine, error, place=f"under the strategy {mapping.strategy}")]) from None


def check_strategy(setup: Setup, nodes: Sequence[int]) -> None:
    """Raise BadInput if a strategy is to compute numbers as it cannot, or on too many virtual ranks."""
    mapping = setup.mapping
    if mapping.strategy.is_data or mapping.numerics == "off":
        return
    problems = []
    if mapping.numerics != "layer" or mapping.backend != "numpy" or mapping.precision not in ("fp64", "fp32"):
        found = f"numerics {mapping.numerics}, backend {mapping.backend}, precision {mapping.precision}"
        expected = "numerics layer with the backend numpy in fp64 or fp32, or --numerics off"
        problems.append(Problem(file=f"strategy {mapping.strategy}", key="", value=found, expected=expected))
    for count in nodes:
        if count * mapping.ranks_per_node > MOST_RANKS:
            expected = f"at most {MOST_RANKS} ranks that compute numbers one after the other, or --numerics off"
            problems.append(Problem(file=f"strategy {mapping.strategy}", key="nodes", value=count, expected=expected))
    if problems:
        raise BadInput(problems)


def strategy_device(setup: Setup, *, global_batch: int, nodes: int) -> StrategyDevice:
    """Virtual ranks that compute a step of ``samples`` samples per node as the strategy divides it."""
    lowered = _lowered(setup, global_batch, nodes)
    return StrategyDevice(
        Execution(
            source=setup.model,
            division=lowered.division,
            stages=lowered.stages,
            collectives=Collectives(
                algorithm=setup.mapping.summation,
                network=setup.machine.network,
                item_bytes=DTYPES[setup.mapping.dtype].itemsize,
            ),
            replicas=lowered.replicas,
            micro_batches=lowered.micro_batches,
            together=lowered.together,
            sharded=lowered.strategy.optimizer_sharding,
        )
    )


def _lowered(setup: Setup, global_batch: int, nodes: int) -> LoweredStrategy:
    return lower_strategy(
        model=setup.model,
        strategy=setup.mapping.strategy,
        machine=setup.machine,
        mapping=setup.mapping,
        clock=setup.clock,
        scheme=mapped_scheme(machine=setup.machine, mapping=setup.mapping),
        nodes=nodes,
        global_batch=global_batch,
    )


def _check(setup: Setup, lowered: LoweredStrategy, nodes: int) -> None:
    layer, least = least_batch(setup.graph)
    if lowered.together < least:
        expected = (
            f"micro-batches of at least {least} samples for each core group, as layer {layer!r} learns from the "
            "statistics of a batch; take fewer micro_batches or more samples"
        )
        raise BadInput([_problem(setup, "micro_batches", lowered.micro_batches, expected)])
    memory = heaviest_stage(lowered, setup.workload.recipe.optimizer)[1]
    if memory.total > setup.machine.processor.memory.bytes:
        raise BadInput([strategy_memory_problem(setup, lowered, nodes=nodes)])


def _problem(setup: Setup, key: str, value: object, expected: str) -> Problem:
    return Problem(file=f"strategy {setup.mapping.strategy}", key=key, value=value, expected=expected)
