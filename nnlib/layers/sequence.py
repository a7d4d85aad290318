"""Layers over sequences (T, C) with lengths (): lookahead, the last step, and lengths behind a convolution."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nnlib.layers.initial import LECUN_NORMAL, Initial
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError
from nnlib.ops.row_convolution import row_convolution_backward, row_convolution_forward
from nnlib.ops.sequence import last_step, last_step_gradient, strided_lengths


def sequence_inputs(layer: str, kind: str, input_shapes: tuple[Shape, ...]) -> tuple[int, int]:
    """Steps and channels of (x) or (x, lengths). Raises ShapeError for anything else."""
    if len(input_shapes) in (1, 2) and len(input_shapes[0]) == 2 and input_shapes[1:] in ((), ((),)):
        steps, channels = input_shapes[0]
        return steps, channels
    raise ShapeError(f"layer {layer!r} ({kind}) wants x (T, C) and perhaps lengths (), got {input_shapes}")


@dataclass(frozen=True)
class RowConvolution(Layer):
    """Each channel of a step sees itself and ``context`` steps ahead: ``weight`` (context + 1, C). Inputs x[, lengths].

    Past a sequence's length inputs count as 0 and outputs are 0.
    """

    context: int
    initial: Initial = field(default=LECUN_NORMAL, kw_only=True)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return sequence_inputs(self.name, "row convolution", input_shapes)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        _, channels = sequence_inputs(self.name, "row convolution", input_shapes)
        return {"weight": (self.context + 1, channels)}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        shape = self.parameter_shapes(input_shapes)["weight"]
        return {"weight": self.initial.draw(shape, fan_in=shape[0], fan_out=shape[0], rng=rng, dtype=dtype)}

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        steps, channels = sequence_inputs(self.name, "row convolution", input_shapes)
        return steps * channels * (self.context + 1)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        lengths = inputs[1].astype(np.int64) if len(inputs) == 2 else None
        return row_convolution_forward(inputs[0], params["weight"], lengths=lengths), (inputs[0], lengths)

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        x, lengths = saved
        by_x, by_weight = row_convolution_backward(x, params["weight"], grad_output, lengths=lengths)
        return (by_x if needs[0] else None, *(None,) * (len(needs) - 1)), {"weight": by_weight}


class LastStep(Layer):
    """The last step of each sequence, (T, C) to (C,): at its length, the first if it has none. Inputs x[, lengths]."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        _, channels = sequence_inputs(self.name, "last step", input_shapes)
        return (channels,)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        lengths = inputs[1].astype(np.int64) if len(inputs) == 2 else None
        return last_step(inputs[0], lengths), (inputs[0].shape[1], lengths)

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        steps, lengths = saved
        grad = last_step_gradient(grad_output, steps, lengths) if needs[0] else None
        return (grad, *(None,) * (len(needs) - 1)), {}


@dataclass(frozen=True)
class StridedLengths(Layer):
    """Lengths () behind a convolution or pooling along the steps: ``(length + 2·padding - kernel)//stride + 1``."""

    kernel: int
    stride: int = 1
    padding: int = 0

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        if input_shapes != ((),):
            raise ShapeError(f"layer {self.name!r} (strided lengths) wants lengths (), got {input_shapes}")
        return ()

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        return strided_lengths(inputs[0], kernel=self.kernel, stride=self.stride, padding=self.padding), None

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (None,), {}
