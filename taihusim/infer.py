"""``infer``: outputs, throughput and latency of inference, for any number of nodes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nnlib.batch import Arrays, Batch
from nnlib.precision import DTYPES
from sim.chip.memory import Array
from sim.power.energy import energy
from sim.problems import BadInput, Problem
from taihusim.node_counts import node_problems
from taihusim.precision import inference_device
from taihusim.setup import Setup
from workloads.bottleneck import inference_bottleneck
from workloads.checkpoint import load_weights
from workloads.datasets.dataset import Dataset
from workloads.datasets.load import load_dataset, measure_of
from workloads.datasets.measure import Measure
from workloads.evaluation import answers, measured
from workloads.inference import InferenceTiming, time_inference
from workloads.training import accuracy

CALIBRATED_SAMPLES: Final = 256
"""Samples that integers are calibrated on, if there are so many."""


@dataclass(frozen=True, kw_only=True)
class InferRequest:
    """What is asked. Without ``weights`` the model computes with its own, or with fresh ones drawn from ``seed``.

    ``inputs``: samples to answer in place of the test set.
    """

    nodes: tuple[int, ...]
    seed: int = 0
    weights: Path | None = None
    inputs: Arrays | None = None


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """The points by node count as in the record, and what the model says of the test set.

    ``outputs`` are the network's outputs by name, samples in front; they and ``measured``, how good they are by
    ``measure``, are None without numerics.
    """

    points: list[dict[str, Any]]
    outputs: dict[str, Array] | None
    measure: Measure | None
    measured: float | None
    trained: bool

    @property
    def output(self) -> Array | None:
        """The network's first output."""
        return None if self.outputs is None else next(iter(self.outputs.values()))

    @property
    def accuracy(self) -> float | None:
        """The share that is right, where that is what is measured."""
        return accuracy(self.measure, self.measured)


def infer(setup: Setup, request: InferRequest) -> Inferred:
    """Time inference on every node count and compute the test set's outputs once. Raises BadInput."""
    problems = [*node_problems(request.nodes, machine=setup.machine), *setup.batch_problems(request.nodes)]
    if not setup.mapping.strategy.is_data:
        expected = "data: every node answers with the whole network"
        problems.append(Problem(file="--strategy", key="", value=str(setup.mapping.strategy), expected=expected))
    if problems:
        raise BadInput(problems)
    parameters = network_variables(setup, weights=request.weights, seed=request.seed)
    timed = {nodes: _time(setup, nodes) for nodes in sorted(set(request.nodes))}
    if 1 not in timed:
        with suppress(BadInput):  # one node, to compare with, may be too small for the whole of a global batch
            timed[1] = _time(setup, 1)
    outputs, measure, value = None, None, None
    if setup.mapping.numerics != "off" and request.inputs is not None:
        outputs = _given_answers(setup, parameters, request.inputs)
    elif setup.mapping.numerics != "off" and setup.workload.data is not None:
        outputs, measure, value = _answers(setup, parameters)
    return Inferred(
        points=[_point(setup, nodes, timed) for nodes in request.nodes],
        outputs=outputs,
        measure=measure,
        measured=value,
        trained=request.weights is not None or setup.model.weights is not None,
    )


def _answers(setup: Setup, variables: dict[str, Array]) -> tuple[dict[str, Array], Measure | None, float | None]:
    """The outputs for the test set, and how good it is by which measure."""
    data = load_dataset(setup.workload, setup.model)
    measure, device = (
        measure_of(setup.workload, data, setup.model),
        inference_device(setup, calibration_sample(setup, data)),
    )
    parts, totals = [], []
    for outputs, batch in answers(device, variables=variables, part=data.test):
        parts.append(outputs)
        if measure is not None:
            totals.append(measured(measure, device, variables=variables, outputs=outputs, batch=batch))
    value = None if measure is None else measure.value(np.sum(totals, axis=0))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in setup.graph.outputs}
    return joined, measure, value


def _given_answers(setup: Setup, variables: dict[str, Array], inputs: Arrays) -> dict[str, Array]:
    """The outputs for given samples, on which integers are calibrated too."""
    dtype = DTYPES[setup.mapping.dtype]
    given = Batch(inputs=inputs, targets={}).astype(dtype).inputs
    device = inference_device(setup, given if setup.mapping.integers is not None else None)
    return device.outputs(variables=variables, inputs=given)


def _time(setup: Setup, nodes: int) -> InferenceTiming:
    samples = setup.samples_per_node(nodes)
    node = setup.steps.answering(samples)
    return time_inference(node=node, network=setup.machine.network, batch=samples, nodes=nodes)


def _point(setup: Setup, nodes: int, timed: dict[int, InferenceTiming]) -> dict[str, Any]:
    timing = timed[nodes]
    batch = setup.samples_per_node(nodes)
    alone = setup.samples_per_node(1) / timed[1].seconds if 1 in timed else None
    return {
        "nodes": nodes,
        "cores": nodes * setup.machine.processor.cores,
        "batch": batch,
        "seconds_per_batch": timing.seconds,
        "samples_per_second": nodes * batch / timing.seconds,
        "efficiency": None if alone is None else batch / timing.seconds / alone,
        # every batch takes as long as every other: nothing varies until requests arrive at random
        "latency_p50": timing.latency,
        "latency_p99": timing.latency,
        "energy_joules_per_batch": energy(setup.machine, timing.activity, nodes=nodes).total_joules,
        "bottleneck": inference_bottleneck(
            shares=timing.shares,
            busiest=timing.busiest,
            launches=timing.launches,
            launch_seconds=timing.launch_seconds,
        ),
        "shares": dict(timing.shares),
    }


def network_variables(setup: Setup, *, weights: Path | None, seed: int) -> dict[str, Array]:
    """What the network computes with: from a file, or else its own or fresh ones drawn from ``seed``.

    Raises BadInput for a file that is missing or of another network.
    """
    dtype = DTYPES[setup.mapping.dtype]
    if weights is None:
        return setup.model.initialise(np.random.default_rng(seed), dtype)
    loaded = load_weights(weights)
    wanted = setup.graph.variables
    problems = [
        Problem(
            file=str(weights),
            key=name,
            value=None if name not in loaded else loaded[name].shape,
            expected=f"an array of shape {shape}, as workload {setup.workload.name} has it",
        )
        for name, shape in wanted.items()
        if name not in loaded or loaded[name].shape != shape
    ]
    if problems:
        raise BadInput(problems)
    return {name: loaded[name].astype(dtype, copy=False) for name in wanted}


def calibration_sample(setup: Setup, data: Dataset) -> Arrays | None:
    """What integers are calibrated on: some of the samples to learn from, evenly spread."""
    if setup.mapping.integers is None:
        return None
    count = min(CALIBRATED_SAMPLES, len(data.train))
    return data.train.batch(np.linspace(0, len(data.train) - 1, count).astype(np.int64)).inputs
