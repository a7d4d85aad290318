"""Convolution layers, of images and of sequences."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from nnlib.layers.initial import HE_NORMAL, Initial
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.conv_1d import conv1d_forward, conv1d_input_gradient, conv1d_weight_gradient, row_padding
from nnlib.ops.convolution import (
    channel_sums,
    conv2d_forward,
    conv2d_input_gradient,
    conv2d_weight_gradient,
    kept_patches,
)
from nnlib.ops.reach import Padding, Pair, reaches


@dataclass(frozen=True)
class Conv2d(Layer):
    """Convolution of images (H, W, Ni) with weights (kh, kw, Ni of a group, No).

    ``stride`` and ``dilation``: for rows and columns, or one number for both; ``padding``: zeros on every side, for
    rows and for columns, or above, below, left and right. ``groups`` of channels do not see one another.
    """

    out_channels: int
    kernel: tuple[int, int]
    stride: Pair = 1
    padding: Padding = 0
    bias: bool = True
    dilation: Pair = 1
    groups: int = 1
    initial: Initial = field(default=HE_NORMAL, kw_only=True)

    @property
    def options(self) -> dict[str, Any]:
        """What the operations take beside arrays."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        what = f"layer {self.name!r} (conv2d)"
        if len(shape) != 3:
            raise ShapeError(f"{what} wants images (height, width, channels), got {shape}")
        check_groups(what, self.groups, shape[-1], self.out_channels)
        rows, columns = output_pixels(
            what, shape, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation
        )
        return rows, columns, self.out_channels

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        channels = only_input(self.name, input_shapes)[-1]
        shapes: dict[str, Shape] = {"weight": (*self.kernel, channels // self.groups, self.out_channels)}
        return shapes | {"bias": (self.out_channels,)} if self.bias else shapes

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return draw(self.initial, self.parameter_shapes(input_shapes), self.groups, rng=rng, dtype=dtype)

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        return prod(self.parameter_shapes(input_shapes)["weight"]) * prod(self.output_shape(input_shapes)[:-1])

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        patches = kept_patches(x, self.kernel, **self.options)
        return conv2d_forward(x, params["weight"], params.get("bias"), **self.options, patches=patches), (x, patches)

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        x, patches = saved
        grads = {"weight": conv2d_weight_gradient(grad_output, x, self.kernel, **self.options, patches=patches)}
        if self.bias:
            grads["bias"] = channel_sums(grad_output)
        if not needs[0]:
            return (None,), grads
        return (conv2d_input_gradient(grad_output, params["weight"], x.shape, **self.options),), grads


@dataclass(frozen=True)
class Conv1d(Layer):
    """Convolution of sequences (T, Ni) with weights (k, Ni of a group, No); ``padding`` before and behind, or both."""

    out_channels: int
    kernel: int
    stride: int = 1
    padding: Pair = 0
    bias: bool = True
    dilation: int = 1
    groups: int = 1
    initial: Initial = field(default=HE_NORMAL, kw_only=True)

    @property
    def options(self) -> dict[str, Any]:
        """What the operations take beside arrays."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    @property
    def image_layer(self) -> Conv2d:
        """The same of images of one row."""
        return Conv2d(
            self.name,
            self.out_channels,
            (1, self.kernel),
            (1, self.stride),
            row_padding(self.padding),
            self.bias,
            (1, self.dilation),
            self.groups,
            initial=self.initial,
        )

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        what = f"layer {self.name!r} (conv1d)"
        if len(shape) != 2:
            raise ShapeError(f"{what} wants sequences (steps, channels), got {shape}")
        check_groups(what, self.groups, shape[-1], self.out_channels)
        row = self.image_layer
        _, steps = output_pixels(
            what, (1, *shape), row.kernel, stride=row.stride, padding=row.padding, dilation=row.dilation
        )
        return steps, self.out_channels

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        channels = only_input(self.name, input_shapes)[-1]
        shapes: dict[str, Shape] = {"weight": (self.kernel, channels // self.groups, self.out_channels)}
        return shapes | {"bias": (self.out_channels,)} if self.bias else shapes

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return draw(self.initial, self.parameter_shapes(input_shapes), self.groups, rng=rng, dtype=dtype)

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        return prod(self.parameter_shapes(input_shapes)["weight"]) * self.output_shape(input_shapes)[0]

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return conv1d_forward(x, params["weight"], params.get("bias"), **self.options), x

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        x: Array = saved
        grads = {"weight": conv1d_weight_gradient(grad_output, x, self.kernel, **self.options)}
        if self.bias:
            grads["bias"] = channel_sums(grad_output)
        if not needs[0]:
            return (None,), grads
        return (conv1d_input_gradient(grad_output, params["weight"], x.shape, **self.options),), grads


def check_groups(what: str, groups: int, ins: int, outs: int) -> None:
    """Raises ShapeError if groups do not divide the channels."""
    if ins % groups or outs % groups:
        raise ShapeError(f"{what}: {groups} groups do not divide {ins} input and {outs} output channels")


def output_pixels(
    what: str, shape: Shape, kernel: tuple[int, int], *, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[int, int]:
    """Rows and columns of the output over images (H, W, channels). Raises ShapeError if there are none."""
    try:
        rows, columns = reaches((shape[0], shape[1]), kernel, stride=stride, padding=padding, dilation=dilation)
    except ValueError as error:
        raise ShapeError(
            f"{what}: the kernel {kernel} with dilation {dilation} does not fit images {shape} with padding {padding}"
        ) from error
    return rows.outputs, columns.outputs


def draw(
    initial: Initial,
    shapes: dict[str, Shape],
    groups: int,
    *,
    transposed: bool = False,
    rng: np.random.Generator,
    dtype: np.dtype[np.floating],
) -> dict[str, Array]:
    """Fresh weights (taps..., Ni of a group, No) and a bias of zeros, as far as ``shapes`` have them.

    ``transposed``: the weights are (taps..., Ni, No of a group).
    """
    *taps, ins, outs = shapes["weight"]
    in_groups, out_groups = (groups, 1) if transposed else (1, groups)
    fan_in, fan_out = prod(taps) * ins // in_groups, prod(taps) * outs // out_groups
    weight = initial.draw(shapes["weight"], fan_in=fan_in, fan_out=fan_out, rng=rng, dtype=dtype)
    return {"weight": weight} | ({"bias": np.zeros(shapes["bias"], dtype=dtype)} if "bias" in shapes else {})
