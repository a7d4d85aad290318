"""``predict``: what a machine would do with a workload at every number of nodes, and why."""

from __future__ import annotations

import time as host
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from sim.problems import BadInput, Problem
from taihusim.node_counts import batch_problems, node_problems
from taihusim.node_steps import NodeSteps
from taihusim.prediction_point import answer_point, training_point
from taihusim.scaling import scaling
from taihusim.uncertainty import Residuals, load_residuals
from workloads.inference import InferenceTiming, time_inference
from workloads.jobs.predicted_step import PredictedStep

Target: TypeAlias = Literal["training", "inference", "both"]
Say: TypeAlias = Callable[[str, float | None], None]


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """What is asked. ``seed``: nodes are unequal, as the machine's noise says, and which are late is drawn from it."""

    nodes: tuple[int, ...]
    target: Target = "both"
    seed: int | None = None


@dataclass
class Predictor:
    """Predicts steps from what nodes do, and remembers them. ``residuals``: how far off the parts have been."""

    steps: NodeSteps
    seed: int | None = None
    residuals: Residuals = field(default_factory=load_residuals)
    known: dict[int, PredictedStep] = field(default_factory=dict)

    def samples(self, nodes: int) -> int:
        """Samples of a step on each of ``nodes`` nodes. Raises BadInput if a global batch cannot be shared equally."""
        batch = self.steps.facts.batch_per_node
        return self.steps.mapping.samples_per_node(nodes=nodes, recipe_batch_per_node=batch)

    def training(self, nodes: int) -> PredictedStep:
        """A step on ``nodes`` nodes. Raises BadInput where it does not fit."""
        found = self.known.get(nodes)
        if found is None:
            found = self.known[nodes] = self.steps.predicted(nodes, seed=self.seed)
        return found

    def inference(self, nodes: int) -> InferenceTiming:
        """A batch on each of ``nodes`` nodes. Raises BadInput where it does not fit."""
        samples = self.samples(nodes)
        node = self.steps.answering(samples)
        return time_inference(node=node, network=self.steps.machine.network, batch=samples, nodes=nodes)


def request_problems(steps: NodeSteps, request: PredictRequest) -> list[Problem]:
    """What cannot be: node counts that the machine does not have, batches that cannot be shared, nothing to learn."""
    facts = steps.facts
    problems = [
        *node_problems(request.nodes, machine=steps.machine),
        *batch_problems(request.nodes, mapping=steps.mapping, recipe_batch_per_node=facts.batch_per_node),
    ]
    devices = steps.machine.roofline
    if devices is not None and not steps.mapping.strategy.is_data and request.target != "inference":
        expected = f"data: {steps.machine.name} has {devices.name} known by their peaks, not core groups to divide for"
        problems.append(Problem(file="--strategy", key="", value=str(steps.mapping.strategy), expected=expected))
    if not facts.learns and request.target == "training":
        expected = "--target inference: there is no loss to learn by"
        problems.append(Problem(file="--target", key="", value=request.target, expected=expected))
    return problems


def predict(steps: NodeSteps, request: PredictRequest, *, say: Say = lambda text, share: None) -> dict[str, Any]:
    """The object that ``taihusim predict --json`` prints. Raises BadInput with all problems."""
    begin = host.perf_counter()
    problems = request_problems(steps, request)
    if problems:
        raise BadInput(problems)
    predictor = Predictor(steps, seed=request.seed)
    learns = steps.facts.learns and request.target != "inference"
    answers = request.target != "training"
    total = len(request.nodes) * (learns + answers)
    trained: dict[int, PredictedStep] = {}
    answered: dict[int, InferenceTiming] = {}
    done = 0
    for wanted, work, found in ((learns, predictor.training, trained), (answers, predictor.inference, answered)):
        for nodes in request.nodes if wanted else ():
            say(f"{nodes:,} nodes", done / total)
            _collect(problems, found, nodes, work)
            done += 1
    if problems:
        raise BadInput(list(dict.fromkeys(problems)))
    for wanted, work, found in ((learns, predictor.training, trained), (answers, predictor.inference, answered)):
        if wanted:  # one node, to compare with, may be too small for the whole of a global batch
            _collect([], found, 1, work)
    points = [training_point(predictor, trained, nodes) for nodes in request.nodes] if learns else []
    return {
        "workload": steps.facts.name,
        "machine": steps.machine.name,
        "points": points,
        "scaling": scaling(points),
        "recipe_batch": steps.facts.recipe_batch if steps.facts.train_size is not None else None,
        "inference": [answer_point(predictor, answered, nodes) for nodes in request.nodes] if answers else [],
        "host_seconds": host.perf_counter() - begin,
    }


def _collect(problems: list[Problem], found: dict[int, Any], nodes: int, work: Callable[[int], Any]) -> None:
    """Put what ``work`` gives for ``nodes`` nodes into ``found``, or its problems into ``problems``."""
    if nodes in found:
        return
    try:
        found[nodes] = work(nodes)
    except BadInput as error:
        problems.extend(error.problems)
