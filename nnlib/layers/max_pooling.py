"""The largest number under each window: of images (H, W, C) and of sequences (T, C)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape
from nnlib.layers.pooling import Pooling, pooled_shape, window_axes
from nnlib.ops.pool_axis import PoolAxis
from nnlib.ops.pooling import max_pool_backward, max_pool_forward
from nnlib.ops.reach import Padding, Pair, pair, sides


def _forward(self: Pooling, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
    """The largest numbers; backward needs the input."""
    (x,) = inputs
    return max_pool_forward(x, **self.options), x


def _backward(
    self: Pooling, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
    """Each number of the gradient goes to the largest of its window."""
    return (max_pool_backward(saved, grad_output, **self.options) if needs[0] else None,), {}


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
        return window_axes(self, "max_pool", shape, pair(self.kernel), self.stride, sides(self.padding), self.dilation)

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

    output_shape, forward, backward = pooled_shape, _forward, _backward


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
        return window_axes(self, "max_pool_1d", shape, (self.kernel,), self.stride, (self.padding,), self.dilation)

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

    output_shape, forward, backward = pooled_shape, _forward, _backward
