"""Transposed convolution layers, of images and of sequences: they enlarge what a convolution would shrink."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from nnlib.layers.convolution import check_groups, draw
from nnlib.layers.initial import HE_NORMAL, Initial
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.conv_1d import row_padding
from nnlib.ops.conv_transpose import (
    conv_transpose1d_forward,
    conv_transpose1d_input_gradient,
    conv_transpose1d_weight_gradient,
    conv_transpose2d_forward,
    conv_transpose2d_input_gradient,
    conv_transpose2d_weight_gradient,
    transposed_shape,
)
from nnlib.ops.convolution import channel_sums
from nnlib.ops.reach import Padding, Pair


@dataclass(frozen=True)
class ConvTranspose2d(Layer):
    """Transposed convolution of images (H, W, Ni) with weights (kh, kw, Ni, No of a group).

    Options are those of the convolution that goes the other way; ``output_padding``: more rows and columns at the end.
    """

    out_channels: int
    kernel: tuple[int, int]
    stride: Pair = 1
    padding: Padding = 0
    output_padding: Pair = 0
    bias: bool = True
    dilation: Pair = 1
    groups: int = 1
    initial: Initial = field(default=HE_NORMAL, kw_only=True)

    @property
    def options(self) -> dict[str, Any]:
        """What the operations take beside arrays."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        what = f"layer {self.name!r} (conv_transpose2d)"
        if len(shape) != 3:
            raise ShapeError(f"{what} wants images (height, width, channels), got {shape}")
        check_groups(what, self.groups, shape[-1], self.out_channels)
        options = {name: value for name, value in self.options.items() if name != "groups"}
        try:
            rows, columns = transposed_shape((shape[0], shape[1]), self.kernel, **options)
        except ValueError as error:
            raise ShapeError(f"{what}: {error}") from error
        return rows, columns, self.out_channels

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        channels = only_input(self.name, input_shapes)[-1]
        shapes: dict[str, Shape] = {"weight": (*self.kernel, channels, self.out_channels // self.groups)}
        return shapes | {"bias": (self.out_channels,)} if self.bias else shapes

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return draw(
            self.initial, self.parameter_shapes(input_shapes), self.groups, transposed=True, rng=rng, dtype=dtype
        )

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        return prod(self.parameter_shapes(input_shapes)["weight"]) * prod(only_input(self.name, input_shapes)[:-1])

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return conv_transpose2d_forward(x, params["weight"], params.get("bias"), **self.options), x

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        x: Array = saved
        grads = {"weight": conv_transpose2d_weight_gradient(grad_output, x, self.kernel, **self.options)}
        if self.bias:
            grads["bias"] = channel_sums(grad_output)
        if not needs[0]:
            return (None,), grads
        return (conv_transpose2d_input_gradient(grad_output, params["weight"], **self.options),), grads


@dataclass(frozen=True)
class ConvTranspose1d(Layer):
    """Transposed convolution of sequences (T, Ni) with weights (k, Ni, No of a group)."""

    out_channels: int
    kernel: int
    stride: int = 1
    padding: Pair = 0
    output_padding: int = 0
    bias: bool = True
    dilation: int = 1
    groups: int = 1
    initial: Initial = field(default=HE_NORMAL, kw_only=True)

    @property
    def options(self) -> dict[str, Any]:
        """What the operations take beside arrays."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    @property
    def image_layer(self) -> ConvTranspose2d:
        """The same of images of one row."""
        return ConvTranspose2d(
            self.name,
            self.out_channels,
            (1, self.kernel),
            (1, self.stride),
            row_padding(self.padding),
            (0, self.output_padding),
            self.bias,
            (1, self.dilation),
            self.groups,
            initial=self.initial,
        )

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        what = f"layer {self.name!r} (conv_transpose1d)"
        if len(shape) != 2:
            raise ShapeError(f"{what} wants sequences (steps, channels), got {shape}")
        check_groups(what, self.groups, shape[-1], self.out_channels)
        options = {name: value for name, value in self.image_layer.options.items() if name != "groups"}
        try:
            _, steps = transposed_shape((1, shape[0]), (1, self.kernel), **options)
        except ValueError as error:
            raise ShapeError(f"{what}: {error}") from error
        return steps, self.out_channels

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        channels = only_input(self.name, input_shapes)[-1]
        shapes: dict[str, Shape] = {"weight": (self.kernel, channels, self.out_channels // self.groups)}
        return shapes | {"bias": (self.out_channels,)} if self.bias else shapes

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return draw(
            self.initial, self.parameter_shapes(input_shapes), self.groups, transposed=True, rng=rng, dtype=dtype
        )

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        return prod(self.parameter_shapes(input_shapes)["weight"]) * only_input(self.name, input_shapes)[0]

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return conv_transpose1d_forward(x, params["weight"], params.get("bias"), **self.options), x

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        x: Array = saved
        grads = {"weight": conv_transpose1d_weight_gradient(grad_output, x, self.kernel, **self.options)}
        if self.bias:
            grads["bias"] = channel_sums(grad_output)
        if not needs[0]:
            return (None,), grads
        return (conv_transpose1d_input_gradient(grad_output, params["weight"], **self.options),), grads
