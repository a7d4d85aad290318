"""A training run: numbers and time from one loop, a curve of what is measured against simulated time."""

from __future__ import annotations

import time as host
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nnlib.device import Device
from nnlib.layers.layer import Run
from nnlib.layers.randomness import step_key
from nnlib.optim.clip import Clip
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.rate import LearningRate
from nnlib.optim.state import State
from sim.chip.memory import Array
from workloads.datasets.dataset import Part
from workloads.datasets.measure import Measure
from workloads.datasets.stream import SampleStream
from workloads.evaluation import evaluate
from workloads.reduction import Reduction


@dataclass(frozen=True, kw_only=True)
class Goal:
    """When a run ends: once the test set's measure is as good as ``until``, or after ``steps``, else ``max_steps``.

    ``measure`` is what it is called.
    """

    until: float | None
    steps: int | None
    max_steps: int
    evaluate_every: int
    measure: str | None = None


@dataclass
class TrainingState:
    """All that changes during a run; with it a run goes on where it stopped.

    ``variables`` are the network's parameters and statistics; ``measured`` is how good it was on the test set when it
    was last looked at.
    """

    variables: dict[str, Array]
    optimizer: State
    stream: SampleStream
    step: int = 0
    loss: float | None = None
    measured: float | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    host_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """What a run needs besides its state. ``seconds_per_step`` is the simulated time of a step.

    ``measure`` says how good it is on ``test``; without one nobody looks. ``seed`` decides layers' random numbers.
    """

    device: Device
    reduction: Reduction
    optimizer: Optimizer
    rate: LearningRate
    test: Part
    measure: Measure | None
    global_batch: int
    seconds_per_step: float
    goal: Goal
    seed: int = 0
    clip: Clip | None = None

    def run(self, state: TrainingState, *, after_step: Callable[[TrainingState], None]) -> None:
        """Train until the goal; ``after_step`` sees the state after every step."""
        if state.step == 0 and not state.curve:
            self.evaluate(state)
        while not self.ended(state):
            begin = host.perf_counter()
            self.step(state)
            if state.step % self.goal.evaluate_every == 0 or state.step == self.last_step:
                self.evaluate(state)
            state.host_seconds += host.perf_counter() - begin
            after_step(state)

    @property
    def last_step(self) -> int:
        """The step after which a run ends however good it is."""
        return self.goal.max_steps if self.goal.steps is None else self.goal.steps

    def ended(self, state: TrainingState) -> bool:
        """True once the goal is reached."""
        return state.step >= self.last_step or self.reached(state)

    def reached(self, state: TrainingState) -> bool:
        """True once the test set's measure was as good as wanted when it was last looked at."""
        if self.goal.until is None or self.measure is None or state.measured is None:
            return False
        return self.measure.good_enough(state.measured, self.goal.until)

    def step(self, state: TrainingState) -> None:
        """One step of synchronous SGD on the next global batch."""
        samples = state.stream.next(self.global_batch)
        run = Run(training=True, key=step_key(self.seed, state.step))
        found = self.reduction.gradients(
            device=self.device, variables=state.variables, stream=state.stream, samples=samples, run=run
        )
        state.loss = found.loss
        learned = {name: state.variables[name] for name in found.parameters}
        rate = self.rate.at(state.step, global_batch=self.global_batch)
        if self.clip is not None:
            self.device.clip(clip=self.clip, grads=found.parameters)
        self.device.update(
            optimizer=self.optimizer, parameters=learned, grads=found.parameters, state=state.optimizer, rate=rate
        )
        state.variables.update(found.statistics)
        state.step += 1

    def evaluate(self, state: TrainingState) -> None:
        """Look at the test set, and a point of the curve. Not part of the simulated time."""
        if self.measure is not None:
            state.measured = evaluate(self.measure, self.device, variables=state.variables, part=self.test)
        state.curve.append(
            {
                "seconds": state.step * self.seconds_per_step,
                "samples": state.step * self.global_batch,
                "loss": state.loss,
                "accuracy": accuracy(self.measure, state.measured),
                "measured": state.measured,
            }
        )


def accuracy(measure: Measure | None, measured: float | None) -> float | None:
    """What was measured, where it is an accuracy."""
    return measured if measure is not None and measure.name == "accuracy" else None
