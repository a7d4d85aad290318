"""Fixed scaling."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, only_input
from nnlib.ops.affine import affine_forward


@dataclass(frozen=True)
class Scale(Layer):
    """``factor·x + offset`` with fixed numbers."""

    factor: float = 1.0
    offset: float = 0.0

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return only_input(self.name, input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        return affine_forward(inputs[0], factor=self.factor, offset=self.offset), None

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (affine_forward(grad_output, factor=self.factor) if needs[0] else None,), {}
