"""Training that computes activations a second time instead of keeping them."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.graph import INPUT, Graph
from nnlib.layers import Conv2d, Flatten, Linear, MaxPool, ReLU
from nnlib.lowering import lower_gradients
from nnlib.segments import kept_between, segments
from sim.machine.load import DEFAULT_MACHINE, load_machine
from tests.nnlib.batches import classifier, labelled

DEEP = Graph.chain(
    (6, 6, 2),
    [
        *(layer for n in range(6) for layer in (Conv2d(f"c{n}", 8, (3, 3), padding=1), ReLU(f"r{n}"))),
        MaxPool("pool", (2, 2), 2),
        Flatten("flatten"),
        Linear("fc", 3),
    ],
)


def test_segments_are_all_nodes_in_order_and_about_root_n_many() -> None:
    parts = segments(DEEP)
    assert tuple(node for part in parts for node in part) == DEEP.nodes
    assert len(parts) == 3
    assert kept_between(DEEP, parts) == {part[-1].name for part in parts[:-1]}


@pytest.mark.numeric
@pytest.mark.parametrize("tiles", [False, True])
def test_gradients_are_the_same_numbers(tiles: bool) -> None:
    model = classifier(DEEP)
    rng = np.random.default_rng(1)
    variables = DEEP.initialise(rng, np.dtype(np.float64))
    batch = labelled(rng.standard_normal((4, *DEEP.shapes[INPUT])), rng.integers(0, 3, 4))
    processor = load_machine(DEFAULT_MACHINE).processor
    found = []
    for recompute in (False, True):
        host = HostDevice(model, recompute=recompute)
        device = CoreGroupDevice(model, 2, "fp64", processor, recompute=recompute) if tiles else host
        found.append(device.gradients(variables=variables, batch=batch, weights=np.ones(4)))
    assert found[0].loss == found[1].loss
    assert found[0].parameters.keys() == found[1].parameters.keys()
    for name, grad in found[0].parameters.items():
        np.testing.assert_array_equal(found[1].parameters[name], grad)


def test_memory_falls_and_each_layer_but_those_of_the_last_segment_is_launched_again() -> None:
    model = classifier(DEEP)
    plain, again = (lower_gradients(model=model, batch=4, dtype="fp64", recompute=each) for each in (False, True))
    assert again.memory_bytes < plain.memory_bytes
    forward = [launch.layer for launch in again.launches if launch.phase == "forward"]
    repeated = [launch.layer for launch in again.launches if launch.phase == "recompute"]
    last = {node.name for node in segments(DEEP)[-1]}
    assert sorted(repeated) == sorted(layer for layer in forward if layer not in last and layer != "loss")
    assert [launch for launch in plain.launches if launch.phase == "recompute"] == []
