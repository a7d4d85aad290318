"""Host time of one training step's numerics against PyTorch on two threads: the digits network, batch 256, one node.

``layer`` may take 2 times as long as PyTorch, ``tile``, in which every tile passes through the simulated LDM, 10 times.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line has it; read when NumPy is loaded

import numpy as np
from measure import side_by_side, verdict

from nnlib.batch import Batch
from nnlib.device import CoreGroupDevice, Device, HostDevice
from nnlib.graph import INPUT
from nnlib.layers.activation import ReLU
from nnlib.layers.convolution import Conv2d
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.precision import DTYPES
from taihusim.setup import Setup, prepare
from workloads.datasets.dataset import LABEL
from workloads.datasets.load import load_dataset

BATCH = 256
ROUNDS = 15
LIMITS = {"layer": 2.0, "tile": 10.0}


def torch_step(setup: Setup, parameters: dict[str, Any], images: Any, labels: Any, rate: float) -> Callable[[], object]:
    """The same step in PyTorch: forward, loss, backward, SGD with momentum."""
    import torch

    layers: list[Any] = []
    for node in setup.graph.nodes:
        match node.layer:
            case Conv2d() as conv:
                weight = parameters[f"{conv.name}.weight"]
                layers.append(torch.nn.Conv2d(*weight.shape[2:], conv.kernel, conv.stride, conv.padding))
            case Linear() as linear:
                layers.append(torch.nn.Linear(*parameters[f"{linear.name}.weight"].shape))
            case MaxPool() as pool:
                layers.append(torch.nn.MaxPool2d(pool.kernel, pool.stride))
            case ReLU():
                layers.append(torch.nn.ReLU())
            case _:
                layers.append(torch.nn.Flatten())
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    y = torch.from_numpy(labels)
    model = torch.nn.Sequential(*layers).to(x.dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def own_step(
    setup: Setup, device: Device, parameters: dict[str, Any], images: Any, labels: Any, rate: float
) -> Callable[[], object]:
    """One step on a device."""
    optimizer = setup.workload.recipe.optimizer
    state = optimizer.initial_state(parameters)
    weights = np.ones(len(images), dtype=images.dtype)
    batch = Batch(inputs={INPUT: images}, targets={LABEL: labels})

    def step() -> None:
        grads = device.gradients(variables=parameters, batch=batch, weights=weights).parameters
        device.update(optimizer=optimizer, parameters=parameters, grads=grads, state=state, rate=rate)

    return step


def main() -> int:
    try:
        import torch
    except ModuleNotFoundError:
        print("skipped: PyTorch is not installed (make parity installs it)")
        return 0
    torch.set_num_threads(2)
    setup = prepare(workload="digits")
    train = load_dataset(setup.workload).train
    processor = setup.machine.processor
    held = True
    for dtype in ("fp64", "fp32"):
        batch = train.batch(np.arange(BATCH)).astype(DTYPES[dtype])
        images, labels = batch.inputs[INPUT], batch.targets[LABEL]
        parameters = setup.graph.initialise(np.random.default_rng(0), DTYPES[dtype])
        tile = CoreGroupDevice(setup.model, BATCH // processor.core_groups, dtype, processor)
        rate = 1e-4
        seconds = side_by_side(
            {
                "torch": torch_step(setup, parameters, images, labels, rate),
                "layer": own_step(setup, HostDevice(setup.model), dict(parameters), images, labels, rate),
                "tile": own_step(setup, tile, dict(parameters), images, labels, rate),
            },
            rounds=ROUNDS,
        )
        print(f"{dtype}: " + ", ".join(f"{name} {1e3 * value:.2f} ms" for name, value in seconds.items()))
        for name, limit in LIMITS.items():
            held &= verdict(f"{dtype} {name} / PyTorch", seconds[name] / seconds["torch"], limit, "x")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
