"""The mean under each window: of images (H, W, C) and of sequences (T, C)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape
from nnlib.layers.pooling import Pooling, pooled_shape, window_axes
from nnlib.ops.average_pooling import average_pool_backward, average_pool_forward
from nnlib.ops.pool_axis import PoolAxis
from nnlib.ops.reach import Padding, Pair, pair, sides


def _forward(self: Pooling, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
    """The means; backward needs the input's shape."""
    (x,) = inputs
    return average_pool_forward(x, **self.options), x.shape


def _backward(
    self: Pooling, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
    """Each number of the gradient is shared out among its window."""
    return (average_pool_backward(grad_output, saved, **self.options) if needs[0] else None,), {}


@dataclass(frozen=True)
class AveragePool(Layer):
    """The mean under each window of images (H, W, C); zeros lie around them.

    Sizes as for :class:`nnlib.layers.max_pooling.MaxPool`. ``count_padding``: a mean is over the window's pixels of the
    padding, too.
    """

    kernel: Pair
    stride: Pair
    padding: Padding = 0
    ceil: bool = False
    count_padding: bool = True

    def axes(self, shape: Shape) -> tuple[PoolAxis, ...]:
        """The windows along rows and columns. Raises ShapeError if they do not go with images of ``shape``."""
        return window_axes(self, "average_pool", shape, pair(self.kernel), self.stride, sides(self.padding), 1)

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

    output_shape, forward, backward = pooled_shape, _forward, _backward


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
        return window_axes(self, "average_pool_1d", shape, (self.kernel,), self.stride, (self.padding,), 1)

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

    output_shape, forward, backward = pooled_shape, _forward, _backward
