"""Pooling layers under windows: of images (H, W, C) and of sequences (T, C)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.average_pooling import average_pool_backward, average_pool_forward
from nnlib.ops.pool_axis import Paddings, PoolAxis, Sizes, pool_axes
from nnlib.ops.pooling import max_pool_backward, max_pool_forward
from nnlib.ops.reach import Padding, Pair, pair, sides


class Pooling(Protocol):
    """A layer over windows, with the ``options`` that its operations take beside arrays."""

    @property
    def options(self) -> dict[str, Any]:
        """Kernel, stride, padding and the like by the operations' names for them."""


def _max_forward(self: Pooling, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
    """The largest numbers; backward needs the input."""
    (x,) = inputs
    return max_pool_forward(x, **self.options), x


def _max_backward(
    self: Pooling, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
    """Each number of the gradient goes to the largest of its window."""
    return (max_pool_backward(saved, grad_output, **self.options) if needs[0] else None,), {}


def _average_forward(self: Pooling, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
    """The means; backward needs the input's shape."""
    (x,) = inputs
    return average_pool_forward(x, **self.options), x.shape


def _average_backward(
    self: Pooling, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
    """Each number of the gradient is shared out among its window."""
    return (average_pool_backward(grad_output, saved, **self.options) if needs[0] else None,), {}


@dataclass(frozen=True)
class MaxPool(Layer):
    """The largest number under each window of images (H, W, C).

    ``kernel``, ``stride``, ``dilation``: for rows and columns, or one number for both; ``padding``: on every side, for
    rows and for columns, or above, below, left and right; it is never the largest. ``ceil``: windows may reach beyond
    the padding.
    """

    kernel: Pair
    stride: Pair
    padding: Padding = 0
    ceil: bool = False
    dilation: Pair = 1

    def axes(self, shape: Shape) -> tuple[PoolAxis, ...]:
        """The windows along rows and columns. Raises ShapeError if they do not go with images of ``shape``."""
        return _axes(self, "max_pool", shape, pair(self.kernel), self.stride, sides(self.padding), self.dilation)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _output_shape(self.axes(only_input(self.name, input_shapes)), input_shapes)

    @property
    def options(self) -> dict[str, Any]:
        """What the operations take beside arrays."""
        return {
            "kernel": pair(self.kernel),
            "stride": self.stride,
            "padding": sides(self.padding),
            "dilation": self.dilation,
            "ceil_mode": self.ceil,
        }

    forward, backward = _max_forward, _max_backward


@dataclass(frozen=True)
class MaxPool1d(Layer):
    """The largest number under each window of sequences (T, C). ``padding``: on both sides, or before and behind."""

    kernel: int
    stride: int
    padding: int | tuple[int, int] = 0
    ceil: bool = False
    dilation: int = 1

    def axes(self, shape: Shape) -> tuple[PoolAxis, ...]:
        """The windows along the sequence. Raises ShapeError if they do not go with sequences of ``shape``."""
        return _axes(self, "max_pool_1d", shape, (self.kernel,), self.stride, (self.padding,), self.dilation)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _output_shape(self.axes(only_input(self.name, input_shapes)), input_shapes)

    @property
    def options(self) -> dict[str, Any]:
        """What the operations take beside arrays."""
        return {
            "kernel": (self.kernel,),
            "stride": self.stride,
            "padding": (self.padding,),
            "dilation": self.dilation,
            "ceil_mode": self.ceil,
        }

    forward, backward = _max_forward, _max_backward


@dataclass(frozen=True)
class AveragePool(Layer):
    """The mean under each window of images (H, W, C); zeros lie around them.

    Sizes as for :class:`MaxPool`. ``count_padding``: a mean is over the window's pixels of the padding, too.
    """

    kernel: Pair
    stride: Pair
    padding: Padding = 0
    ceil: bool = False
    count_padding: bool = True

    def axes(self, shape: Shape) -> tuple[PoolAxis, ...]:
        """The windows along rows and columns. Raises ShapeError if they do not go with images of ``shape``."""
        return _axes(self, "average_pool", shape, pair(self.kernel), self.stride, sides(self.padding), 1)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _output_shape(self.axes(only_input(self.name, input_shapes)), input_shapes)

    @property
    def options(self) -> dict[str, Any]:
        """What the operations take beside arrays."""
        return {
            "kernel": pair(self.kernel),
            "stride": self.stride,
            "padding": sides(self.padding),
            "ceil_mode": self.ceil,
            "count_include_pad": self.count_padding,
        }

    forward, backward = _average_forward, _average_backward


@dataclass(frozen=True)
class AveragePool1d(Layer):
    """The mean under each window of sequences (T, C). ``padding``: zeros on both sides, or before and behind."""

    kernel: int
    stride: int
    padding: int | tuple[int, int] = 0
    ceil: bool = False
    count_padding: bool = True

    def axes(self, shape: Shape) -> tuple[PoolAxis, ...]:
        """The windows along the sequence. Raises ShapeError if they do not go with sequences of ``shape``."""
        return _axes(self, "average_pool_1d", shape, (self.kernel,), self.stride, (self.padding,), 1)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _output_shape(self.axes(only_input(self.name, input_shapes)), input_shapes)

    @property
    def options(self) -> dict[str, Any]:
        """What the operations take beside arrays."""
        return {
            "kernel": (self.kernel,),
            "stride": self.stride,
            "padding": (self.padding,),
            "ceil_mode": self.ceil,
            "count_include_pad": self.count_padding,
        }

    forward, backward = _average_forward, _average_backward


def _axes(
    layer: MaxPool | MaxPool1d | AveragePool | AveragePool1d,
    kind: str,
    shape: Shape,
    kernel: Sequence[int],
    stride: Sizes,
    padding: Paddings,
    dilation: Sizes,
) -> tuple[PoolAxis, ...]:
    """The windows along each axis of the pixels. Raises ShapeError."""
    wanted = "(height, width, channels)" if len(kernel) == 2 else "(length, channels)"
    what = "images" if len(kernel) == 2 else "sequences"
    reason = "that many axes"
    if len(shape) == len(kernel) + 1:
        try:
            return pool_axes((1, *shape), kernel, stride, padding, dilation, ceil_mode=layer.ceil)
        except ValueError as error:
            reason = str(error)
    raise ShapeError(
        f"layer {layer.name!r} ({kind}) wants {what} {wanted} for windows of {tuple(kernel)}, got {shape}: {reason}"
    )


def _output_shape(axes: Sequence[PoolAxis], input_shapes: tuple[Shape, ...]) -> Shape:
    return (*(pool.count for pool in axes), input_shapes[0][-1])
