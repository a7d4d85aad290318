"""Host time of ResNet-50's convolutions, forward and backward of 8 images in fp32, against PyTorch on two threads.

Those that a matrix product is the most of, 1 × 1 and wide 3 × 3, may take 1.3 times as long, all together 2.5 times.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line has it; read when NumPy is loaded

import numpy as np
import yaml
from measure import side_by_side, verdict

from nnlib.ops.convolution import conv2d_forward, conv2d_input_gradient, conv2d_weight_gradient

ROUNDS = 9
PAUSE = 0.02
PRODUCT_LIMIT, SUM_LIMIT = 1.3, 2.5
WIDE = 128
"""Input channels from which on a 3 × 3 convolution is a matrix product above all."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution of square images with square kernels."""

    inputs: int
    outputs: int
    k: int
    stride: int
    padding: int
    size: int

    @property
    def words(self) -> str:
        kernel = f"{self.k} x {self.k}" + (f" / {self.stride}" if self.stride > 1 else "")
        return f"{self.size:>4} x {self.size:<4} {self.inputs:>5} to {self.outputs:<5} {kernel}"

    @property
    def is_product(self) -> bool:
        return self.k == 1 or self.inputs >= WIDE

    @property
    def is_first(self) -> bool:
        """The images need no gradient."""
        return self.inputs == 3


def candidates(layer: Layer, batch: int) -> dict[str, Callable[[], object]]:
    """Forward and backward of a layer by PyTorch and here, from the same numbers."""
    import torch

    def tensor(*shape: int) -> Any:
        return torch.rand(*shape) - 0.5

    images = tensor(batch, layer.inputs, layer.size, layer.size).requires_grad_(not layer.is_first)
    filters = tensor(layer.outputs, layer.inputs, layer.k, layer.k).requires_grad_()
    options = {"stride": layer.stride, "padding": layer.padding}
    grad_y = torch.rand_like(torch.nn.functional.conv2d(images, filters, **options))

    def theirs() -> object:
        images.grad = filters.grad = None
        torch.nn.functional.conv2d(images, filters, **options).backward(grad_y)
        return filters.grad

    x, grad = (np.ascontiguousarray(each.detach().numpy().transpose(0, 2, 3, 1)) for each in (images, grad_y))
    weight = np.ascontiguousarray(filters.detach().numpy().transpose(2, 3, 1, 0))
    stride, padding = layer.stride, layer.padding

    def ours() -> object:
        y = conv2d_forward(x, weight, None, stride=stride, padding=padding)
        grad_weight = conv2d_weight_gradient(grad, x, (layer.k, layer.k), stride=stride, padding=padding)
        if layer.is_first:
            return y, grad_weight
        return y, grad_weight, conv2d_input_gradient(grad, weight, x.shape, stride=stride, padding=padding)

    return {"torch": theirs, "own": ours}


def main() -> int:
    try:
        import torch
    except ModuleNotFoundError:
        print("skipped: PyTorch is not installed (make parity installs it)")
        return 0
    torch.set_num_threads(2)
    described = yaml.safe_load(Path(__file__).with_name("resnet50.yaml").read_text())
    held = True
    total = {"torch": 0.0, "own": 0.0}
    for layer in (Layer(**each) for each in described["convolutions"]):
        seconds = side_by_side(candidates(layer, described["batch"]), rounds=ROUNDS, pause=PAUSE, wake=True)
        total = {name: total[name] + seconds[name] for name in total}
        times = f"{1e3 * seconds['torch']:8.1f} ms {1e3 * seconds['own']:8.1f} ms"
        ratio = seconds["own"] / seconds["torch"]
        if layer.is_product:
            held &= verdict(f"{layer.words:<34}{times}", ratio, PRODUCT_LIMIT, "x")
        else:
            print(f"{f'{layer.words:<34}{times}':<58}{ratio:10.3g}x")
    held &= verdict("all together / PyTorch", total["own"] / total["torch"], SUM_LIMIT, "x")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
