"""Digits trained in fixed point: accuracy with stochastic rounding, rounding to nearest, and a master copy, over seeds.

    python benchmarks/fixed_point_training.py [--seeds 5] [--steps 1350] [--fractions 6,7,8,9,10] [--json]

Weights are int16 with a fixed number of fraction bits, all else int16 with a power-of-two step per tensor, the same for
every way of rounding. The learning rate falls linearly to 0, so that updates become smaller than half a step.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from nnlib.batch import Batch
from nnlib.device import Device, HostDevice
from nnlib.graph import INPUT
from nnlib.layers.layer import Array, Run
from nnlib.layers.randomness import step_key
from nnlib.precision.fixed import FixedPoint
from nnlib.quantised.device import FixedDevice
from nnlib.quantised.scheme import FixedScheme
from taihusim.setup import Setup, prepare
from workloads.datasets.digits import load_digits

STEPS = 1350
"""15 epochs of batches of 16."""
WAYS = {
    "nearest": {"rounding": "nearest", "master": False},
    "stochastic": {"rounding": "stochastic", "master": False},
    "nearest, master copy": {"rounding": "nearest", "master": True},
}


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images (n, 8, 8, 1) and their digits (n,)."""

    images: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Digits:
    """Images to learn from, shifted by up to a pixel each time, and 360 others to be judged by."""

    train: Labelled
    test: Labelled

    def batches(self, *, size: int, seed: int) -> Iterator[Batch]:
        """Epoch after epoch in an order of its own."""
        rng = np.random.default_rng(seed)
        images = np.pad(self.train.images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        while True:
            order = rng.permutation(len(images))
            for first in range(0, len(order) - size + 1, size):
                some = order[first : first + size]
                down, right = rng.integers(0, 3, (2, size))
                windows = np.lib.stride_tricks.sliding_window_view(images[some], (8, 8), axis=(1, 2))
                shifted = windows[np.arange(size), down, right].transpose(0, 2, 3, 1)
                yield Batch(inputs={INPUT: shifted}, targets={"label": self.train.labels[some]})


def load() -> Digits:
    """The images that come with scikit-learn, pixels from 0 to 1; the split is the same for all seeds."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.labels))
    images = np.asarray(found.images, dtype=np.float64) / 16
    labels = np.asarray(found.labels, dtype=np.int64)
    test, train = (Labelled(images[part], labels[part]) for part in (order[:360], order[360:]))
    return Digits(train=train, test=test)


def trained(setup: Setup, data: Digits, device: Device, *, seed: int, steps: int) -> dict[str, Array]:
    """The variables after ``steps`` steps of the recipe, its rate falling to 0."""
    recipe = setup.workload.recipe
    rate = replace(recipe.learning_rate, schedule="linear", decay_steps=steps - recipe.learning_rate.warmup_steps)
    size = recipe.batch_per_node
    variables = setup.graph.initialise(np.random.default_rng(seed), np.dtype(np.float64))
    parameters = {name: variables[name] for name in setup.graph.parameters}
    state = recipe.optimizer.initial_state(parameters)
    for step, batch in enumerate(islice(data.batches(size=size, seed=seed), steps)):
        run = Run(training=True, key=step_key(seed, step))
        found = device.gradients(variables=variables, batch=batch, weights=np.ones(size), run=run)
        grads = found.parameters
        now = rate.at(step, global_batch=size)
        device.update(optimizer=recipe.optimizer, parameters=parameters, grads=grads, state=state, rate=now)
    return variables


def accuracy(setup: Setup, test: Labelled, device: Device, variables: dict[str, Array]) -> float:
    """The share of images whose digit is the largest output."""
    outputs = device.outputs(variables=variables, inputs={INPUT: test.images})[setup.graph.output]
    return float(np.mean(outputs.argmax(axis=1) == test.labels))


def fixed_device(setup: Setup, *, fraction: int, way: str, seed: int) -> FixedDevice:
    """A device that trains with weights of ``fraction`` bits behind the point."""
    scheme = FixedScheme(weights=FixedPoint("int16", fraction), **WAYS[way])  # type: ignore[arg-type]
    return FixedDevice(setup.model, scheme, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--fractions", default="7,8,9,10")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    setup, data = prepare(workload="digits"), load()
    found: list[dict[str, object]] = []

    def row(name: str, devices: Sequence[Device]) -> None:
        """Train with each device, one for each seed."""
        accuracies = []
        for seed, device in enumerate(devices):
            variables = trained(setup, data, device, seed=seed, steps=options.steps)
            accuracies.append(accuracy(setup, data.test, device, variables))
        tallies = [device.scheme.tally for device in devices if isinstance(device, FixedDevice)]
        counts = {name: sum(getattr(each, name) for each in tallies) for name in ("saturated", "overflows")}
        found.append({"format": name, "mean": float(np.mean(accuracies)), "accuracies": accuracies, **counts})
        if not options.as_json:
            each = " ".join(f"{value:.3f}" for value in accuracies)
            print(f"{name:30} {np.mean(accuracies):.4f}  {each}  {counts}", flush=True)

    row("fp64", [HostDevice(setup.model)] * options.seeds)
    for fraction in map(int, options.fractions.split(",")):
        for way in WAYS:
            devices = [fixed_device(setup, fraction=fraction, way=way, seed=seed) for seed in range(options.seeds)]
            row(f"Q{16 - fraction}.{fraction} {way}", devices)
    if options.as_json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
