"""Convolution of sequences (B, T, C) with weights (k, Ni of a group, No): that of images of one row.

``padding``: zeros before and behind, or one number for both.
"""

from __future__ import annotations

from nnlib.ops.convolution import conv2d_forward, conv2d_input_gradient, conv2d_weight_gradient
from nnlib.ops.patches import Array
from nnlib.ops.reach import Padding, Pair


def conv1d_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: int = 1,
    padding: Pair = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """``y`` (B, To, No) of sequences ``x`` (B, T, Ni)."""
    y = conv2d_forward(
        x[:, None],
        weight[None],
        bias,
        stride=(1, stride),
        padding=row_padding(padding),
        dilation=(1, dilation),
        groups=groups,
    )
    return y[:, 0]


def conv1d_input_gradient(
    grad: Array,
    weight: Array,
    input_shape: tuple[int, ...],
    *,
    stride: int = 1,
    padding: Pair = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """Gradient by ``x`` of shape ``input_shape`` (B, T, Ni)."""
    batch, steps, channels = input_shape
    gradient = conv2d_input_gradient(
        grad[:, None],
        weight[None],
        (batch, 1, steps, channels),
        stride=(1, stride),
        padding=row_padding(padding),
        dilation=(1, dilation),
        groups=groups,
    )
    return gradient[:, 0]


def conv1d_weight_gradient(
    grad: Array,
    x: Array,
    kernel: int,
    *,
    stride: int = 1,
    padding: Pair = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """Gradient by the weights (k, Ni of a group, No)."""
    gradient = conv2d_weight_gradient(
        grad[:, None],
        x[:, None],
        (1, kernel),
        stride=(1, stride),
        padding=row_padding(padding),
        dilation=(1, dilation),
        groups=groups,
    )
    taps: Array = gradient[0]
    return taps


def row_padding(padding: Pair) -> Padding:
    """The padding of the one row."""
    before, behind = (padding, padding) if isinstance(padding, int) else padding
    return 0, 0, before, behind
