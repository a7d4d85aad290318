"""Normalisation within a sample: of its last axes, or of groups of its channels."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError
from nnlib.layers.normalisation import (
    Gradients,
    gradients_of,
    initial_identity,
    scale_and_shift,
    with_axes,
    with_channels,
)
from nnlib.ops.group_normalisation import (
    group_norm_backward,
    group_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
    rms_norm_backward,
    rms_norm_forward,
)


@dataclass(frozen=True)
class LayerNorm(Layer):
    """The last ``axes`` axes of each sample by their mean and variance.

    ``affine``: parameters ``scale`` and ``shift`` of the shape of these axes.
    """

    axes: int = 1
    epsilon: float = 1e-5
    affine: bool = True

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return with_axes(self, input_shapes, self.axes)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return scale_and_shift(self.output_shape(input_shapes)[-self.axes :], self.affine)

    initialise = initial_identity

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        scale, shift = params.get("scale"), params.get("shift")
        y, statistics = layer_norm_forward(x, scale, shift, axes=self.axes, epsilon=self.epsilon)
        return y, (x, statistics)

    def backward(self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]) -> Gradients:
        x, statistics = saved
        found = layer_norm_backward(grad_output, x, params.get("scale"), statistics, axes=self.axes)
        return gradients_of(found, self.affine, needs)


@dataclass(frozen=True)
class RMSNorm(Layer):
    """The last ``axes`` axes of each sample by the root of their mean square (Zhang and Sennrich 2019).

    ``affine``: a parameter ``scale`` of the shape of these axes.
    """

    axes: int = 1
    epsilon: float = 1e-5
    affine: bool = True

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return with_axes(self, input_shapes, self.axes)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        over = self.output_shape(input_shapes)[-self.axes :]
        return {"scale": over} if self.affine else {}

    initialise = initial_identity

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        y, statistics = rms_norm_forward(x, params.get("scale"), axes=self.axes, epsilon=self.epsilon)
        return y, (x, statistics)

    def backward(self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]) -> Gradients:
        x, statistics = saved
        grad_x, grad_scale = rms_norm_backward(grad_output, x, params.get("scale"), statistics, axes=self.axes)
        return (grad_x if needs[0] else None,), {"scale": grad_scale} if self.affine else {}


@dataclass(frozen=True)
class GroupNorm(Layer):
    """Each of ``groups`` groups of channels of each sample (..., C) by its mean and variance (Wu and He 2018).

    A group for each channel is instance normalisation. ``affine``: parameters ``scale`` and ``shift`` (C,).
    """

    groups: int
    epsilon: float = 1e-5
    affine: bool = True

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = with_channels(self, input_shapes)
        if self.groups < 1 or shape[-1] % self.groups:
            raise ShapeError(
                f"layer {self.name!r} (group_norm) wants channels that divide into {self.groups} groups, got {shape}"
            )
        return shape

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return scale_and_shift(self.output_shape(input_shapes)[-1:], self.affine)

    initialise = initial_identity

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        scale, shift = params.get("scale"), params.get("shift")
        y, statistics = group_norm_forward(x, scale, shift, groups=self.groups, epsilon=self.epsilon)
        return y, (x, statistics)

    def backward(self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]) -> Gradients:
        x, statistics = saved
        found = group_norm_backward(grad_output, x, params.get("scale"), statistics, groups=self.groups)
        return gradients_of(found, self.affine, needs)
