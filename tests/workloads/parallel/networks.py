"""Small networks, batches for them, and executions by a strategy."""

from __future__ import annotations

from functools import cache

import numpy as np

from machine_configs import DEFAULT_MACHINE
from nnlib.batch import Batch
from nnlib.graph import Graph
from nnlib.layers.activation import ReLU, Tanh
from nnlib.layers.arrangement import Flatten
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.convolution import Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.layer import Array, Run
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.model import Model
from nnlib.models.resnet import resnet18
from nnlib.models.transformer import bert, gpt2
from sim.machine.load import load_machine
from tests.nnlib.batches import classifier
from workloads.parallel.execution import Execution
from workloads.parallel.pipeline import cut_into_stages
from workloads.parallel.schedules import Collectives
from workloads.parallel.strategy import Strategy
from workloads.parallel.tensor import divide

SAMPLES = 16
RUN = Run(training=True, key=7, first_sample=32)


@cache
def network(name: str) -> Model:
    """A network by name, with layers that strategies divide, replicate and mix."""
    if name == "mlp":
        layers = [Linear("a", 16), ReLU("r"), Dropout("d", 0.5), Linear("b", 24), Tanh("t"), Linear("c", 8)]
        return classifier(Graph.chain((12,), layers))
    if name == "cnn":
        return classifier(
            Graph.chain(
                (8, 8, 3),
                [
                    Conv2d("c1", 8, (3, 3), 1, 1),
                    BatchNorm("b1"),
                    ReLU("r1"),
                    MaxPool("p", (2, 2), 2),
                    Conv2d("c2", 8, (3, 3), 1, 1, bias=False),
                    BatchNorm("b2"),
                    ReLU("r2"),
                    Conv2d("c3", 8, (1, 1), groups=4),
                    Conv2d("c4", 8, (1, 1)),
                    Flatten("f"),
                    Dropout("d", 0.3),
                    Linear("l", 12),
                    ReLU("r3"),
                    Linear("o", 4),
                ],
            )
        )
    if name == "resnet":
        return resnet18(classes=5, image=(8, 8, 3), width=4, small=True)
    sizes = {"vocabulary": 37, "steps": 6, "positions": 8, "width": 16, "heads": 4, "layers": 2}
    return (gpt2 if name == "gpt2" else bert)(**sizes, dropout=0.1)


@cache
def variables(name: str) -> dict[str, Array]:
    """Parameters and statistics, no bias zero."""
    rng = np.random.default_rng(3)
    fresh = network(name).initialise(rng, np.dtype(np.float64))
    return {key: array + 0.05 * rng.random(array.shape) for key, array in fresh.items()}


@cache
def batch_of(name: str, samples: int = SAMPLES) -> Batch:
    """Random samples."""
    rng = np.random.default_rng(5)
    model = network(name)
    inputs = {
        each.name: rng.integers(0, 2, (samples, *each.shape))
        if each.integer
        else rng.normal(size=(samples, *each.shape))
        for each in model.graph.inputs
    }
    targets = {key: rng.integers(0, 2, (samples, *shape)) for key, shape in model.targets.items()}
    return Batch(inputs, targets)


def execution(
    name: str, strategy: Strategy, *, replicas: int = 1, collective: str = "halving_doubling", parts: int = 1
) -> Execution:
    """The strategy's ranks; ``parts`` of a micro-batch are computed one after the other."""
    model = network(name)
    division = divide(model, strategy.tensor)
    micro_batches = strategy.parts_of(SAMPLES // replicas)
    return Execution(
        source=model,
        division=division,
        stages=cut_into_stages(division.graph, [1.0] * len(division.graph.nodes), strategy.pipeline),
        collectives=Collectives(algorithm=collective, network=load_machine(DEFAULT_MACHINE).network),
        replicas=replicas,
        micro_batches=micro_batches,
        together=SAMPLES // replicas // micro_batches // parts,
        sharded=strategy.optimizer_sharding,
    )
