"""Layers that normalise: over the batch, within a sample, and by the neighbouring channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.group_normalisation import (
    group_norm_backward,
    group_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
    rms_norm_backward,
    rms_norm_forward,
)
from nnlib.ops.local_response import local_response_norm_backward, local_response_norm_forward
from nnlib.ops.normalisation import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    batch_norm_inference_backward,
)

Gradients = tuple[tuple[Array | None, ...], dict[str, Array]]


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Each channel of (..., C) by its mean and variance over the batch and all other axes; C is the last.

    In inference by running ones, the statistics ``mean`` and ``variance``, which in training take ``momentum`` of each
    batch's. ``affine``: parameters ``scale`` and ``shift``. Training needs more than one number per channel.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    @property
    def mixes_samples(self) -> bool:
        return True

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _with_channels(self, input_shapes)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return _scale_and_shift(self.output_shape(input_shapes)[-1:], self.affine)

    def statistic_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        channels = self.output_shape(input_shapes)[-1:]
        return {"mean": channels, "variance": channels}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        statistics = {name: np.zeros(shape, dtype) for name, shape in self.statistic_shapes(input_shapes).items()}
        statistics["variance"] += 1
        return _identity(self.parameter_shapes(input_shapes), dtype) | statistics

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        scale, shift = params.get("scale"), params.get("shift")
        if run.training:
            y, statistics = batch_norm_forward(x, scale, shift, epsilon=self.epsilon)
            return y, (x, statistics)
        mean, variance = params["mean"], params["variance"]
        return batch_norm_inference(x, scale, shift, mean=mean, variance=variance, epsilon=self.epsilon), (x, None)

    def backward(self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]) -> Gradients:
        x, statistics = saved
        scale = params.get("scale")
        if statistics is None:
            mean, variance = params["mean"], params["variance"]
            found = batch_norm_inference_backward(
                grad_output, x, scale, mean=mean, variance=variance, epsilon=self.epsilon
            )
        else:
            found = batch_norm_backward(grad_output, x, scale, statistics)
        return _gradients(found, self.affine, needs)

    def statistics(self, params: Params, saved: Saved) -> dict[str, Array]:
        _, statistics = saved
        mean, variance = statistics.running(params["mean"], params["variance"], momentum=self.momentum)
        return {"mean": mean, "variance": variance}


@dataclass(frozen=True)
class LayerNorm(Layer):
    """The last ``axes`` axes of each sample by their mean and variance.

    ``affine``: parameters ``scale`` and ``shift`` of the shape of these axes.
    """

    axes: int = 1
    epsilon: float = 1e-5
    affine: bool = True

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _with_axes(self, input_shapes, self.axes)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return _scale_and_shift(self.output_shape(input_shapes)[-self.axes :], self.affine)

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return _identity(self.parameter_shapes(input_shapes), dtype)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        scale, shift = params.get("scale"), params.get("shift")
        y, statistics = layer_norm_forward(x, scale, shift, axes=self.axes, epsilon=self.epsilon)
        return y, (x, statistics)

    def backward(self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]) -> Gradients:
        x, statistics = saved
        found = layer_norm_backward(grad_output, x, params.get("scale"), statistics, axes=self.axes)
        return _gradients(found, self.affine, needs)


@dataclass(frozen=True)
class RMSNorm(Layer):
    """The last ``axes`` axes of each sample by the root of their mean square (Zhang and Sennrich 2019).

    ``affine``: a parameter ``scale`` of the shape of these axes.
    """

    axes: int = 1
    epsilon: float = 1e-5
    affine: bool = True

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _with_axes(self, input_shapes, self.axes)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        over = self.output_shape(input_shapes)[-self.axes :]
        return {"scale": over} if self.affine else {}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return _identity(self.parameter_shapes(input_shapes), dtype)

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
        shape = _with_channels(self, input_shapes)
        if self.groups < 1 or shape[-1] % self.groups:
            raise ShapeError(
                f"layer {self.name!r} (group_norm) wants channels that divide into {self.groups} groups, got {shape}"
            )
        return shape

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return _scale_and_shift(self.output_shape(input_shapes)[-1:], self.affine)

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return _identity(self.parameter_shapes(input_shapes), dtype)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        scale, shift = params.get("scale"), params.get("shift")
        y, statistics = group_norm_forward(x, scale, shift, groups=self.groups, epsilon=self.epsilon)
        return y, (x, statistics)

    def backward(self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]) -> Gradients:
        x, statistics = saved
        found = group_norm_backward(grad_output, x, params.get("scale"), statistics, groups=self.groups)
        return _gradients(found, self.affine, needs)


@dataclass(frozen=True)
class LocalResponseNorm(Layer):
    """``y = x·(k + alpha/size·Σ x²)^(−beta)``, the sum over ``size`` channels around each of (..., C)."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = _with_channels(self, input_shapes)
        if self.size < 1:
            raise ShapeError(
                f"layer {self.name!r} (local_response_norm) wants a window of at least 1 channel, got {self.size}"
            )
        return shape

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return local_response_norm_forward(x, size=self.size, alpha=self.alpha, beta=self.beta, k=self.k)[0], x

    def backward(self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]) -> Gradients:
        if not needs[0]:
            return (None,), {}
        size, alpha, beta = self.size, self.alpha, self.beta
        # computed again rather than kept: it is as large as the input
        _, scale = local_response_norm_forward(saved, size=size, alpha=alpha, beta=beta, k=self.k)
        return (local_response_norm_backward(grad_output, saved, scale, size=size, alpha=alpha, beta=beta),), {}


def _with_channels(layer: Layer, input_shapes: tuple[Shape, ...]) -> Shape:
    """The shape of the one input (..., channels). Raises ShapeError."""
    return _with_axes(layer, input_shapes, 1)


def _with_axes(layer: Layer, input_shapes: tuple[Shape, ...], axes: int) -> Shape:
    """The shape of the one input, with ``axes`` axes at the end. Raises ShapeError."""
    shape = only_input(layer.name, input_shapes)
    if not 1 <= axes <= len(shape):
        raise ShapeError(
            f"layer {layer.name!r} wants samples of at least {max(axes, 1)} axes (axes={axes}), got {shape}"
        )
    return shape


def _scale_and_shift(shape: Shape, affine: bool) -> dict[str, Shape]:
    return {"scale": shape, "shift": shape} if affine else {}


def _identity(shapes: dict[str, Shape], dtype: np.dtype[np.floating]) -> dict[str, Array]:
    """Scales of 1 and shifts of 0."""
    return {name: np.full(shape, 1 if name == "scale" else 0, dtype) for name, shape in shapes.items()}


def _gradients(found: tuple[Array, Array, Array], affine: bool, needs: tuple[bool, ...]) -> Gradients:
    """Of those by input, scale and shift the ones that somebody wants."""
    grad_x, grad_scale, grad_shift = found
    return (grad_x if needs[0] else None,), {"scale": grad_scale, "shift": grad_shift} if affine else {}
