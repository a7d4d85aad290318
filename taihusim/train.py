"""``train``: loss, accuracy, predicted time and energy of training, for any number of nodes."""

from __future__ import annotations

import time as host
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import Final

from sim.problems import BadInput, Problem
from taihusim.node_counts import node_problems
from taihusim.precision import check_training
from taihusim.setup import Setup
from taihusim.side_by_side import Say, side_by_side
from taihusim.strategy_programs import check_strategy
from taihusim.training_run import (
    Reached,
    Seen,
    Stop,
    Timed,
    TrainedRun,
    TrainRequest,
    Watch,
    checkpoint_keeper,
    run_training,
    training_goal,
)
from workloads.datasets.load import load_dataset, measure_of
from workloads.training import Goal

TOLD_SECONDS: Final = 0.1
"""How often a training in a process of its own says how far it is."""
SMALL: Final = 1_000_000
"""Parameters of a network that is trained on several node counts at a time: larger ones use all processors anyway."""


def check_request(setup: Setup, request: TrainRequest) -> None:
    """Raise BadInput, with all problems, for node counts, batches, goals and folders that cannot be."""
    problems = [*node_problems(request.nodes, machine=setup.machine), *setup.batch_problems(request.nodes)]
    if setup.mapping.numerics == "off" and request.epochs is None:
        recipe, wanted = setup.workload.recipe, request.until_accuracy
        key, value = "recipe.until_accuracy", recipe.until_accuracy
        if recipe.until_measure is not None:
            key, value = "recipe.until_measure", recipe.until_measure
        problems.append(
            Problem(
                file="--until-accuracy" if wanted is not None else f"workload {setup.workload.name}",
                key="" if wanted is not None else key,
                value=wanted if wanted is not None else value,
                expected="--epochs instead: without numerics (--numerics off) there is nothing to measure and wait for",
            )
        )
    if not setup.model.losses:
        expected = "a loss, such as {type: cross_entropy}: what training makes small"
        problems.append(
            Problem(file=f"workload {setup.workload.name}", key="model.loss", value=None, expected=expected)
        )
    if setup.workload.data is None:
        expected = "a workload file that names this model file, its loss, its data and its recipe"
        problems.append(Problem(file=setup.workload.title, key="", value=None, expected=expected))
    if problems:
        raise BadInput(problems)


def train(
    setup: Setup,
    request: TrainRequest,
    *,
    watch: Watch | None = None,
    stop: Stop = lambda: False,
    processes: int = 1,
) -> list[TrainedRun]:
    """Train once for every node count. Raises BadInput before anything is computed.

    Once ``stop`` returns true the state is kept in the request's folder and KeyboardInterrupt raised. Small networks
    are trained in up to ``processes`` processes, one node count each; no number depends on it.
    """
    check_request(setup, request)
    check_training(setup)
    check_strategy(setup, request.nodes)
    for nodes in request.nodes:
        checkpoint_keeper(setup, request, nodes).check()
    timed = {}
    for nodes in sorted(set(request.nodes)):
        if stop():
            raise KeyboardInterrupt("before training")
        timed[nodes] = Timed.of(setup, nodes)
    if 1 not in timed:
        with suppress(BadInput):  # one node, to compare with, may be too small for the whole of a global batch
            timed[1] = Timed.of(setup, 1)
    data = load_dataset(setup.workload, setup.model) if setup.mapping.numerics != "off" else None
    if data is not None:
        training_goal(setup, request, 1, measure_of(setup.workload, data, setup.model))  # before anything is computed

    def run(nodes: int, say: Seen, told: Stop) -> TrainedRun:
        return run_training(setup, request, nodes, timed, data, say, told)

    def seen(nodes: int, reached: Reached, goal: Goal) -> None:
        if watch is not None:
            watch.step(nodes, reached, goal)

    def finished(done: TrainedRun) -> TrainedRun:
        if watch is not None:
            watch.run(done.result)
        return done

    together = min(processes, len(request.nodes)) if data is not None and _goes_side_by_side(setup, request) else 1
    try:
        if together > 1:
            return _side_by_side(run, request.nodes, seen=seen, finished=finished, stop=stop, processes=together)
        return [finished(run(nodes, seen, stop)) for nodes in request.nodes]
    except KeyboardInterrupt as interrupt:
        if not str(interrupt) or request.folder is None:
            raise
        raise KeyboardInterrupt(f"{interrupt}; go on with --out {request.folder} --resume") from None


def _goes_side_by_side(setup: Setup, request: TrainRequest) -> bool:
    """PyTorch has threads of its own, which a forked process loses; equal counts would share a checkpoint."""
    small = setup.graph.parameter_count <= SMALL
    return small and setup.mapping.backend == "numpy" and len(set(request.nodes)) == len(request.nodes)


def _side_by_side(
    run: Callable[[int, Seen, Stop], TrainedRun],
    nodes: Sequence[int],
    *,
    seen: Seen,
    finished: Callable[[TrainedRun], object],
    stop: Stop,
    processes: int,
) -> list[TrainedRun]:
    """Each node count in a process, those with most samples in a step first: they take longest."""

    def job(count: int, say: Say, told: Stop) -> TrainedRun:
        return run(count, _seldom(say), told)

    order = sorted(nodes, reverse=True)
    runs = side_by_side(
        [partial(job, count) for count in order],
        processes=processes,
        heard=lambda what: seen(*what),
        finished=finished,
        stop=stop,
    )
    by_nodes = dict(zip(order, runs, strict=True))
    return [by_nodes[count] for count in nodes]


def _seldom(say: Say) -> Seen:
    """Says how far a training is, but not after every step."""
    last = -inf

    def say_sometimes(nodes: int, reached: Reached, goal: Goal) -> None:
        nonlocal last
        now = host.monotonic()
        if now - last >= TOLD_SECONDS:
            last = now
            say((nodes, reached, goal))

    return say_sometimes
