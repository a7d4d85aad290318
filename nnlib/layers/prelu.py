"""The rectifier with learned slopes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.rectifiers import prelu_backward, prelu_forward


@dataclass(frozen=True)
class PReLU(Layer):
    """``x`` above 0, ``slope·x`` below, with a learned slope for each channel, or one for all if ``shared``.

    Slopes begin as ``initial_slope`` (He et al. 2015).
    """

    shared: bool = False
    initial_slope: float = 0.25

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        if not shape:
            raise ShapeError(f"layer {self.name!r} (prelu) wants samples with channels (..., channels), got {shape}")
        return shape

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return {"slope": (1,) if self.shared else only_input(self.name, input_shapes)[-1:]}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return {"slope": np.full(self.parameter_shapes(input_shapes)["slope"], self.initial_slope, dtype=dtype)}

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return prelu_forward(x, params["slope"]), x

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        grad_x, grad_slope = prelu_backward(saved, params["slope"], grad_output)
        return (grad_x if needs[0] else None,), {"slope": grad_slope}
