"""Host time of normalisations, forward and backward, against PyTorch on two threads; batch norms as in ResNet-50.

Over a batch ours may take twice as long. Within a sample PyTorch fuses all into one pass over memory, which NumPy
cannot: 5 times as long there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line has it; read when NumPy is loaded

import numpy as np
from measure import side_by_side, verdict

from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.group_normalisation import GroupNorm, LayerNorm
from nnlib.layers.layer import Layer, Run
from nnlib.layers.local_response import LocalResponseNorm

LIMIT, WITHIN_LIMIT = 2.0, 5.0
ROUNDS: Final = 9
PAUSE: Final = 0.02
TRAINING: Final = Run(training=True)
CASES: Final[Mapping[str, tuple[Layer, tuple[int, ...], bool]]] = {
    "batch norm 112x112x64": (BatchNorm("x"), (8, 112, 112, 64), False),
    "batch norm 56x56x256": (BatchNorm("x"), (8, 56, 56, 256), False),
    "batch norm 28x28x512": (BatchNorm("x"), (8, 28, 28, 512), False),
    "batch norm 14x14x256": (BatchNorm("x"), (8, 14, 14, 256), False),
    "batch norm 7x7x2048": (BatchNorm("x"), (8, 7, 7, 2048), False),
    "batch norm 56x56x64, batch last": (BatchNorm("x"), (32, 56, 56, 64), True),
    "batch norm 8x8x64, batch last": (BatchNorm("x"), (256, 8, 8, 64), True),
    "layer norm 4096x768": (LayerNorm("x"), (8, 512, 768), False),
    "group norm 56x56x256 / 32": (GroupNorm("x", 32), (8, 56, 56, 256), False),
    "local response 55x55x96": (LocalResponseNorm("x", 5), (8, 55, 55, 96), False),
}
"""Layer, shape of its input, and whether the batch lies innermost in memory."""


def ours(layer: Layer, x: Any, grad: Any) -> Callable[[], object]:
    """One step forward and backward."""
    params = layer.initialise((x.shape[1:],), np.random.default_rng(0), x.dtype)

    def step() -> None:
        _, saved = layer.forward(params, (x,), TRAINING)
        layer.backward(params, saved, grad, (True,))
        layer.statistics(params, saved)

    return step


def theirs(layer: Layer, x: Any, grad: Any) -> Callable[[], object]:
    """The same in PyTorch, channels first where it wants them there."""
    import torch

    channels = x.shape[-1]
    module: torch.nn.Module
    match layer:
        case BatchNorm():
            module = torch.nn.BatchNorm2d(channels)
        case LayerNorm():
            module = torch.nn.LayerNorm(channels)
        case GroupNorm():
            module = torch.nn.GroupNorm(layer.groups, channels)
        case _:
            module = torch.nn.LocalResponseNorm(5)
    x, grad = (
        np.ascontiguousarray(each if isinstance(layer, LayerNorm) else np.moveaxis(each, -1, 1)) for each in (x, grad)
    )
    leaf, slope = torch.tensor(x, requires_grad=True), torch.tensor(grad)

    def step() -> None:
        leaf.grad = None
        module.zero_grad()
        module(leaf).backward(slope)

    return step


def main() -> int:
    try:
        import torch
    except ModuleNotFoundError:
        print("skipped: PyTorch is not installed (make parity installs it)")
        return 0
    torch.set_num_threads(2)
    rng = np.random.default_rng(0)
    held = True
    for name, (layer, shape, batch_last) in CASES.items():
        arrays = []
        for _ in range(2):
            array = rng.standard_normal(shape, dtype=np.float32)
            arrays.append(np.ascontiguousarray(np.moveaxis(array, 0, -1)) if batch_last else array)
        x, grad = (np.moveaxis(each, -1, 0) if batch_last else each for each in arrays)
        candidates = {"torch": theirs(layer, x, grad), "ours": ours(layer, x, grad)}
        seconds = side_by_side(candidates, rounds=ROUNDS, pause=PAUSE, wake=True)
        label = f"{name} ({1e3 * seconds['ours']:.1f} ms)"
        limit = WITHIN_LIMIT if isinstance(layer, LayerNorm | GroupNorm) else LIMIT
        held &= verdict(label, seconds["ours"] / seconds["torch"], limit, "x")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
