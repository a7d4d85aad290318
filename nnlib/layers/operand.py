"""A second operand that is the same for all samples: a bias, a scale, a table of positions, a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.binary import BinaryFunction, binary_backward, binary_forward


@dataclass(frozen=True)
class Operand(Layer):
    """``x ∘ value`` (``value ∘ x`` where ``first``), with a learned ``value`` of a shape that broadcasts to a sample's.

    Fresh values change nothing: 0 for sums and differences, 1 for products and quotients.
    """

    operation: Literal["add", "subtract", "multiply", "divide"]
    shape: tuple[int, ...]
    first: bool = False

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        if len(self.shape) <= len(shape):
            try:
                return np.broadcast_shapes(shape, self.shape)
            except ValueError:
                pass
        raise ShapeError(f"layer {self.name!r} (operand) wants a shape that {self.shape} broadcasts with, got {shape}")

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return {"value": self.shape}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        fill = 0 if self.operation in ("add", "subtract") else 1
        return {"value": np.full(self.shape, fill, dtype=dtype)}

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        a, b = self._ordered(x, params["value"])
        return binary_forward(self._function, a, b), x

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        a, b = self._ordered(saved, params["value"])
        grads = binary_backward(self._function, a, b, grad_output)
        of_x, of_value = reversed(grads) if self.first else grads
        return (of_x if needs[0] else None,), {"value": of_value.reshape(self.shape)}

    @property
    def _function(self) -> BinaryFunction:
        return self.operation

    def _ordered(self, x: Array, value: Array) -> tuple[Array, Array]:
        # as many axes as a batch has, lest the batch be taken for one of the value's
        wide = value.reshape((1,) * (x.ndim - value.ndim) + value.shape)
        return (wide, x) if self.first else (x, wide)
