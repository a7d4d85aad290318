"""Dropout layers."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.layers.randomness import layer_key
from nnlib.ops.dropout import dropout_backward, dropout_forward, keep_mask


@dataclass(frozen=True)
class Dropout(Layer):
    """In training, numbers vanish with probability ``rate`` and the others are divided by 1 - rate.

    Which ones follows from the run's key, the layer's name and the sample's number (Srivastava et al., 2014).
    """

    rate: float

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        if not 0 <= self.rate <= 1:
            raise ShapeError(f"layer {self.name!r} (dropout) wants a rate from 0 to 1, got {self.rate}")
        return only_input(self.name, input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        if not run.training or self.rate == 0:
            return x, None
        mask = keep_mask(layer_key(run.key, self.name), run.first_sample, x.shape, self.rate)
        return dropout_forward(x, mask, self.rate), mask

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        if not needs[0]:
            return (None,), {}
        return (grad_output if saved is None else dropout_backward(grad_output, saved, self.rate),), {}
