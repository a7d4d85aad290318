"""The training on one node count: numbers and time of the same steps, kept up to date and taken up again."""

from __future__ import annotations

import time as host
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nnlib.device import Device
from nnlib.precision import DTYPES
from sim.network.collectives import collective
from sim.network.schedule import execute
from sim.network.topology import Topology
from sim.problems import BadInput, Problem
from taihusim.checkpointing import CheckpointKeeper
from taihusim.precision import training_device
from taihusim.setup import Setup
from taihusim.strategy_programs import strategy_device
from workloads.bottleneck import input_bottleneck, training_bottleneck
from workloads.checkpoint import weights_sha256
from workloads.datasets.dataset import Dataset
from workloads.datasets.load import goal_of, measure_of
from workloads.datasets.measure import HIGHER_IS_BETTER, Measure
from workloads.datasets.stream import SampleStream
from workloads.jobs.predicted_step import PredictedStep
from workloads.reduction import Reduction, choose_order
from workloads.training import Goal, Trainer, TrainingState, accuracy
from workloads.words import nodes_in_words

Stop = Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class Reached:
    """How far a training is: its last ``step``, the ``loss`` there, and what was last ``measured``."""

    step: int
    loss: float | None
    measured: float | None


Seen = Callable[[int, Reached, Goal], None]


class Watch(Protocol):
    """Sees a training go on."""

    def step(self, nodes: int, reached: Reached, goal: Goal) -> None:
        """After every step."""

    def run(self, result: Mapping[str, Any]) -> None:
        """After the run of every node count, with its part of the record."""


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What is asked: ``epochs`` or an accuracy (default: the recipe's). ``folder`` keeps checkpoints, if given."""

    nodes: tuple[int, ...]
    seed: int = 0
    epochs: float | None = None
    until_accuracy: float | None = None
    folder: Path | None = None
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """The result of one node count, as in the record, and its final parameters (None without numerics)."""

    result: dict[str, Any]
    parameters: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A node count's step with its input and energy, and how long it took to find."""

    step: PredictedStep
    host_seconds: float

    @classmethod
    def of(cls, setup: Setup, nodes: int) -> Timed:
        """Raises BadInput as :meth:`taihusim.node_steps.NodeSteps.predicted`."""
        begin = host.perf_counter()
        step = setup.steps.predicted(nodes)
        return cls(step=step, host_seconds=host.perf_counter() - begin)


def training_goal(setup: Setup, request: TrainRequest, global_batch: int, measure: Measure | None) -> Goal:
    """When the training ends. Raises BadInput when what is waited for is not what is measured."""
    recipe = setup.workload.recipe
    steps = None
    if request.epochs is not None:
        data = setup.workload.data
        steps = max(1, round(request.epochs * (data.train_size if data else 0) / global_batch))
    wanted = request.until_accuracy
    if wanted is not None and measure is not None and measure.name not in HIGHER_IS_BETTER:
        expected = f"--set workload.recipe.until_measure=... instead, as the model is judged by {measure.name}"
        raise BadInput([Problem(file="--until-accuracy", key="", value=wanted, expected=expected)])
    if wanted is None and request.epochs is None and setup.mapping.numerics != "off":
        wanted = goal_of(setup.workload, measure)
    return Goal(
        until=wanted,
        steps=steps,
        max_steps=recipe.max_steps,
        evaluate_every=recipe.evaluate_every,
        measure=None if measure is None else measure.name,
    )


def run_training(
    setup: Setup,
    request: TrainRequest,
    nodes: int,
    timed: dict[int, Timed],
    data: Dataset | None,
    seen: Seen,
    stop: Stop,
) -> TrainedRun:
    """The training on ``nodes`` nodes, timed only where there is no ``data``; ``timed``: each node count's step.

    ``seen`` is told of every step. Once ``stop`` returns true the state is kept in the request's folder and
    KeyboardInterrupt raised.
    """
    step = timed[nodes].step
    measure = None if data is None else measure_of(setup.workload, data, setup.model)
    goal = training_goal(setup, request, step.global_batch, measure)
    state = None
    order = None
    if data is not None:
        trainer, state = _numerics(setup, request, nodes, timed[nodes], data, goal, measure)
        order = trainer.reduction.order
        keeper = checkpoint_keeper(setup, request, nodes)
        keeper.restore(state, train=data.train)

        def after_step(current: TrainingState) -> None:
            stopping = stop()
            keeper.keep(current, now=stopping)
            if stopping:
                raise KeyboardInterrupt(f"after step {current.step:,} on {nodes_in_words(nodes)}")
            seen(nodes, Reached(step=current.step, loss=current.loss, measured=current.measured), goal)

        trainer.run(state, after_step=after_step)
        keeper.keep(state, now=True)
        steps = state.step
        reached = trainer.reached(state) if goal.until is not None else None
    else:
        steps = goal.steps or 0
        reached = None
    seconds = steps * step.seconds
    processor = setup.machine.processor
    used = step.energy
    return TrainedRun(
        parameters=None if state is None else state.variables,
        result={
            "nodes": nodes,
            "core_groups": nodes * processor.core_groups,
            "cores": nodes * processor.cores,
            "global_batch": step.global_batch,
            "steps": steps,
            "final_loss": None if state is None else state.loss,
            "test_accuracy": None if state is None else accuracy(measure, state.measured),
            "reached": reached,
            "seconds_per_step": step.seconds,
            "seconds_total": seconds,
            "seconds_to_target": seconds if reached else None,
            "energy_joules": steps * used.total_joules,
            "shares": dict(step.shares),
            "efficiency": _efficiency(setup, nodes, timed),
            "bottleneck": _bottleneck(setup, step),
            "curve": [] if state is None else state.curve,
            "weights_sha256": None if state is None else weights_sha256(state.variables),
            "host_seconds_timing": timed[nodes].host_seconds,
            "host_seconds_numerics": 0.0 if state is None else state.host_seconds,
            "samples_per_second": step.samples_per_second,
            "reduction_order": order,
            "measure": None if measure is None else measure.name,
            "measured": None if state is None else state.measured,
            "storage_bytes_per_sample": None if data is None else data.stored.bytes_per_sample,
            "energy_joules_by_component": {name: steps * joules for name, joules in used.joules.items()},
        },
    )


def _bottleneck(setup: Setup, step: PredictedStep) -> str:
    timing = step.timing
    if max(step.shares, key=lambda share: step.shares[share]) == "input":
        return input_bottleneck(share=step.shares["input"], limit=step.input.limit(timing.seconds))
    return training_bottleneck(
        shares=step.shares,
        busiest=timing.busiest,
        launches=timing.launches,
        launch_seconds=timing.launch_seconds,
        nodes=step.nodes,
        ranks=timing.ranks,
        gradient_bytes=timing.gradient_bytes,
        collective=setup.mapping.collective,
        strategy=str(setup.mapping.strategy),
    )


def checkpoint_keeper(setup: Setup, request: TrainRequest, nodes: int) -> CheckpointKeeper:
    """What keeps the run's checkpoint in the request's folder, if it has one."""
    return CheckpointKeeper(setup=setup, nodes=nodes, seed=request.seed, folder=request.folder, resume=request.resume)


def _efficiency(setup: Setup, nodes: int, timed: dict[int, Timed]) -> float | None:
    """Throughput per node against one node alone; None where one node cannot do it."""
    if 1 not in timed:
        return None
    return timed[nodes].step.samples_per_second / nodes / timed[1].step.samples_per_second


def _numerics(
    setup: Setup, request: TrainRequest, nodes: int, timed: Timed, data: Dataset, goal: Goal, measure: Measure | None
) -> tuple[Trainer, TrainingState]:
    mapping, recipe = setup.mapping, setup.workload.recipe
    global_batch = setup.step_samples(nodes)
    stream = SampleStream(data.train, request.seed)
    variables = setup.model.initialise(np.random.default_rng(request.seed), DTYPES[mapping.dtype])
    optimizer = recipe.optimizer
    trainer = Trainer(
        device=_device(setup, nodes, seed=request.seed),
        reduction=_reduction(setup, nodes, timed, repeats=global_batch > stream.distinct_samples),
        optimizer=optimizer,
        rate=recipe.learning_rate,
        test=data.test,
        measure=measure,
        global_batch=global_batch,
        seconds_per_step=timed.step.seconds,
        goal=goal,
        seed=request.seed,
        clip=recipe.clip,
    )
    learned = {name: variables[name] for name in setup.graph.parameters}
    return trainer, TrainingState(variables=variables, optimizer=optimizer.initial_state(learned), stream=stream)


def _device(setup: Setup, nodes: int, *, seed: int) -> Device:
    """What computes the steps: under a strategy its virtual ranks."""
    if setup.mapping.strategy.is_data:
        return training_device(setup, together=setup.core_group_batch(nodes), seed=seed)
    return strategy_device(setup, global_batch=setup.step_samples(nodes), nodes=nodes)


def _reduction(setup: Setup, nodes: int, timed: Timed, *, repeats: bool) -> Reduction:
    mapping = setup.mapping
    topology = Topology(network=setup.machine.network, nodes=nodes, ranks_per_node=mapping.ranks_per_node)
    if not mapping.strategy.is_data:
        return Reduction(order="strategy", ranks=topology.ranks, add_ranks=lambda values: values)
    order = choose_order(
        wanted=mapping.reduction_order,
        ranks=topology.ranks,
        gradient_bytes=timed.step.timing.gradient_bytes,
        repeats=repeats,
    )

    def add_ranks(values: Any) -> Any:
        schedule = collective(
            "allreduce",
            mapping.summation,
            topology=topology,
            elements=values.shape[1],
            item_bytes=values.itemsize,
        )
        return execute(schedule, values)[0]

    return Reduction(order=order, ranks=topology.ranks, add_ranks=add_ranks)
