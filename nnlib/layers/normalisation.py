"""What layers that normalise share: shapes, and the parameters scale and shift."""

from __future__ import annotations

import numpy as np

from nnlib.layers.layer import Array, Layer, Shape, ShapeError, only_input

Gradients = tuple[tuple[Array | None, ...], dict[str, Array]]


def with_channels(layer: Layer, input_shapes: tuple[Shape, ...]) -> Shape:
    """The shape of the one input (..., channels). Raises ShapeError."""
    return with_axes(layer, input_shapes, 1)


def with_axes(layer: Layer, input_shapes: tuple[Shape, ...], axes: int) -> Shape:
    """The shape of the one input, with ``axes`` axes at the end. Raises ShapeError."""
    shape = only_input(layer.name, input_shapes)
    if not 1 <= axes <= len(shape):
        raise ShapeError(
            f"layer {layer.name!r} wants samples of at least {max(axes, 1)} axes (axes={axes}), got {shape}"
        )
    return shape


def scale_and_shift(shape: Shape, affine: bool) -> dict[str, Shape]:
    return {"scale": shape, "shift": shape} if affine else {}


def identity(shapes: dict[str, Shape], dtype: np.dtype[np.floating]) -> dict[str, Array]:
    """Scales of 1 and shifts of 0."""
    return {name: np.full(shape, 1 if name == "scale" else 0, dtype) for name, shape in shapes.items()}


def initial_identity(
    self: Layer, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
) -> dict[str, Array]:
    """Parameters with which the layer does no more than normalise."""
    return identity(self.parameter_shapes(input_shapes), dtype)


def gradients_of(found: tuple[Array, Array, Array], affine: bool, needs: tuple[bool, ...]) -> Gradients:
    """Of those by input, scale and shift the ones that somebody wants."""
    grad_x, grad_scale, grad_shift = found
    return (grad_x if needs[0] else None,), {"scale": grad_scale, "shift": grad_shift} if affine else {}
