"""Real networks, small, and what their integers are compared with."""

from __future__ import annotations

import numpy as np

from nnlib.device import Loaded
from nnlib.graph import Graph
from nnlib.layers.layer import INFERENCE, Array
from nnlib.models import lenet, mobilenet, resnet, unet
from nnlib.quantised.lower import integer_parameters, lower_integer
from nnlib.quantised.network import IntegerNetwork
from sim.machine.load import load_machine

NETWORKS = {
    "resnet18": lambda: resnet.resnet18(classes=10, image=(32, 32, 3), width=8, small=True).graph,
    "mobilenet_v2": lambda: mobilenet.mobilenet_v2(classes=10, image=(32, 32, 3), width=0.25).graph,
    "lenet5": lambda: lenet.lenet5().graph,
    "unet": lambda: unet.unet(classes=3, image=(16, 24, 4), channels=4, depth=2).graph,
}


def variables_of(graph: Graph, *, seed: int = 0) -> dict[str, Array]:
    """Fresh parameters, none of them 0 or 1; statistics of normalisations by the data that they meet."""
    rng = np.random.default_rng(seed)
    found = graph.initialise(rng, np.dtype(np.float64))
    for name, array in found.items():
        if name.endswith((".bias", ".shift")):
            found[name] = 0.1 * rng.standard_normal(array.shape)
        elif name.endswith((".scale", ".variance")):
            found[name] = rng.uniform(0.7, 1.4, array.shape)
        elif name.endswith(".mean"):
            found[name] = 0.2 * rng.standard_normal(array.shape)
    return found


def images_for(graph: Graph, count: int, *, seed: int = 1) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {each.name: rng.uniform(-1, 1, (count, *each.shape)) for each in graph.inputs}


def on_tiles(network: IntegerNetwork, inputs: dict[str, Array]) -> tuple[dict[str, Array], int, int]:
    """Outputs of a core group, sums that left 32 bits, and results that saturated."""
    batch = len(next(iter(inputs.values())))
    program = lower_integer(network, batch=batch)
    loaded = Loaded(program, integer_parameters(network), load_machine("sunway_taihulight").processor)
    arrays = loaded.run(inputs, INFERENCE)
    outputs = {
        name: arrays[program.buffer(name).name].reshape(batch, *network.graph.shapes[name])
        for name in network.graph.outputs
    }
    counts = [array for name, array in arrays.items() if name.endswith(".saturated")]
    overflows = sum(int(array[0::2].sum()) for array in counts if array.size > 1)
    return outputs, overflows, sum(int(array[1::2].sum() if array.size > 1 else array.sum()) for array in counts)
