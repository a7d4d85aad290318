"""Networks drawn at random, divided every way, against one rank."""

from __future__ import annotations

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from nnlib.batch import Batch
from nnlib.graph import INPUT
from nnlib.layers.activation import ReLU, Tanh
from nnlib.layers.arrangement import Flatten
from nnlib.layers.average_pooling import AveragePool
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.binary import Add, Multiply
from nnlib.layers.convolution import Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.global_pooling import GlobalAveragePool
from nnlib.layers.group_normalisation import LayerNorm
from nnlib.layers.layer import Layer, Run
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.model import Model
from nnlib.models.network import Network
from sim.machine.load import load_machine
from tests.nnlib.batches import LABEL, classifier
from tests.workloads.parallel.test_execution import check_equal
from workloads.parallel.execution import Execution
from workloads.parallel.pipeline import cut_into_stages
from workloads.parallel.schedules import Collectives
from workloads.parallel.tensor import divide

SAMPLES = 12


def random_network(rng: np.random.Generator) -> Model:
    """Convolutions, branches that meet again, and linear layers, in any order; the first one can always be divided."""
    network = Network((6, 6, int(rng.integers(1, 5))))
    network.add(Conv2d("first", 12, (3, 3), 1, 1))
    channels = 12
    for number in range(int(rng.integers(2, 6))):
        source = network.last
        name = f"layer{number}"
        same: list[Layer] = [
            BatchNorm(name),
            ReLU(name),
            Tanh(name),
            Dropout(name, 0.3),
            LayerNorm(name),
            Conv2d(name, channels, (3, 3), 1, 1, bias=bool(rng.integers(2))),
            Conv2d(name, channels, (1, 1), groups=int(rng.choice([1, 2, 4, 12])) if channels == 12 else 1),
            MaxPool(name, (3, 3), 1, 1),
            AveragePool(name, (3, 3), 1, 1),
        ]
        network.add(same[rng.integers(len(same))])
        if rng.integers(2):
            kind = Add if rng.integers(2) else Multiply
            network.join(kind(f"{name}_meet"), *((source, network.last) if rng.integers(2) else (network.last, source)))
        if rng.integers(3) == 0:
            channels = int(rng.choice([6, 10, 12]))
            network.add(Conv2d(f"{name}_to", channels, (1, 1), bias=bool(rng.integers(2))))
    network.add(Flatten("flat") if rng.integers(2) else GlobalAveragePool("mean"))
    for number in range(int(rng.integers(0, 3))):
        network.add(Linear(f"fc{number}", int(rng.choice([6, 8, 12])), transposed=bool(rng.integers(2))))
        network.add(ReLU(f"fc{number}_relu"), Dropout(f"fc{number}_drop", 0.2))
    network.add(Linear("out", int(rng.choice([3, 4, 7]))))
    return classifier(network.graph())


@pytest.mark.numeric
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(15))
def test_a_random_network_has_the_gradients_of_one_rank(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_network(rng)
    variables = model.initialise(rng, np.dtype(np.float64))
    variables = {name: array + 0.1 * rng.random(array.shape) for name, array in variables.items()}
    shape = model.graph.shapes[INPUT]
    classes = model.graph.output_shape[0]
    batch = Batch({INPUT: rng.normal(size=(SAMPLES, *shape))}, {LABEL: rng.integers(0, classes, SAMPLES)})
    division = divide(model, int(rng.choice([2, 3, 4])))
    nodes = len(division.graph.nodes)
    replicas, micro_batches = int(rng.choice([1, 2])), int(rng.choice([1, 2]))
    ranks = Execution(
        source=model,
        division=division,
        stages=cut_into_stages(division.graph, rng.random(nodes).tolist(), int(rng.integers(1, min(nodes, 4) + 1))),
        collectives=Collectives(algorithm="halving_doubling", network=load_machine(DEFAULT_MACHINE).network),
        replicas=replicas,
        micro_batches=micro_batches,
        together=SAMPLES // replicas // micro_batches,
    )
    run, weights = Run(training=True, key=seed), rng.random(SAMPLES) + 0.5
    found = ranks.gradients(variables, batch, weights, run)
    check_equal(found, model.gradients(variables, batch, weights, run=run, together=ranks.together))
