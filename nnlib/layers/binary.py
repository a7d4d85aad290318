"""Layers that compute with two inputs or more, number by number; shorter axes are repeated."""

from __future__ import annotations

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError
from nnlib.ops.binary import BinaryFunction, binary_backward, binary_forward, sum_to_shape


class Add(Layer):
    """The sum of any number of inputs."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _shape(self.name, "add", input_shapes, least=1)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        first, *others = _aligned(inputs)
        y = first + others[0] if others else first
        for other in others[1:]:
            y = np.add(y, other, out=y) if y.shape == np.broadcast_shapes(y.shape, other.shape) else y + other
        return y, [x.shape for x in inputs]

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return tuple(
            _summed(grad_output, shape) if need else None for shape, need in zip(saved, needs, strict=True)
        ), {}


class Subtract(Layer):
    """The first input less the second."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _shape(self.name, "subtract", input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        return _forward("subtract", inputs), [x.shape for x in inputs]

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        first = _summed(grad_output, saved[0]) if needs[0] else None
        return (first, -_summed(grad_output, saved[1]) if needs[1] else None), {}


class Multiply(Layer):
    """The product of two inputs."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _shape(self.name, "multiply", input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        return _forward("multiply", inputs), inputs

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return _backward("multiply", saved, grad_output, needs), {}


class Divide(Layer):
    """The first input divided by the second."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _shape(self.name, "divide", input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        return _forward("divide", inputs), inputs

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return _backward("divide", saved, grad_output, needs), {}


def aligned_shapes(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Shapes per sample, all with as many axes as the longest has: ones come in front."""
    axes = max(len(shape) for shape in shapes)
    return tuple((1,) * (axes - len(shape)) + tuple(shape) for shape in shapes)


def _shape(name: str, kind: str, shapes: tuple[Shape, ...], *, least: int = 2) -> Shape:
    most = 2 if least == 2 else len(shapes)
    if least <= len(shapes) <= most:
        try:
            return tuple(np.broadcast_shapes(*shapes))
        except ValueError:
            pass
    count = "two" if least == 2 else "one or more"
    raise ShapeError(f"layer {name!r} ({kind}) wants {count} inputs whose shapes broadcast, got {shapes}")


def _aligned(inputs: tuple[Array, ...]) -> list[Array]:
    """Batches with as many axes as the longest: those of a sample are aligned at the end, the batch stays in front."""
    shapes = aligned_shapes(tuple(x.shape[1:] for x in inputs))
    return [x.reshape(len(x), *shape) for x, shape in zip(inputs, shapes, strict=True)]


def _forward(function: BinaryFunction, inputs: tuple[Array, ...]) -> Array:
    a, b = _aligned(inputs)
    return binary_forward(function, a, b)


def _backward(
    function: BinaryFunction, inputs: tuple[Array, ...], grad: Array, needs: tuple[bool, ...]
) -> tuple[Array | None, ...]:
    a, b = _aligned(inputs)
    grads = binary_backward(function, a, b, grad)
    return tuple(part.reshape(x.shape) if need else None for part, x, need in zip(grads, inputs, needs, strict=True))


def _summed(grad: Array, shape: Shape) -> Array:
    """The gradient by an input of ``shape``, batch included."""
    ones = (1,) * (grad.ndim - len(shape))
    return sum_to_shape(grad, (shape[0], *ones, *shape[1:])).reshape(shape)
