"""Convolution of images (B, H, W, C) and of sequences (B, T, C) with weights (kh, kw, Ni of a group, No) or (k, ...).

``stride`` and ``dilation`` are for rows and columns, or one number for both; ``padding`` is one number, (rows,
columns), or (top, bottom, left, right), zeros each. ``groups`` divide the channels: each sees only its own. Where a
kernel does not fit its images there is a ValueError.

A convolution is a matrix product of the weights with the patch under each output pixel (explicit GEMM). Small images
of a large batch are computed, and returned, as they lie with the batch last in memory, others as they lie with the
channels last.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from nnlib.ops import conv_batch_last, conv_channels_last, depthwise
from nnlib.ops.patches import Array
from nnlib.ops.reach import Kernel, Padding, Pair, Reach, output_size, reaches

__all__ = [
    "Array",
    "Kernel",
    "Padding",
    "Pair",
    "channel_sums",
    "conv2d_forward",
    "conv2d_input_gradient",
    "conv2d_weight_gradient",
    "kept_patches",
    "output_size",
]

LARGE_BATCH: Final = 48
FEW_CHANNELS: Final = 32
SMALL_IMAGE: Final = 256
"""From this batch on, up to so many input channels and output pixels a product for every pixel is the faster way."""
GREY_BATCH: Final = 16
GREY_CHANNELS: Final = 2
GREY_IMAGE: Final = 1024
"""And for images with hardly any channels: their patches, channels last, lie in memory in very short pieces."""
SUMMED_NUMBERS: Final = 4096
"""Numbers that are summed side by side in their own precision before their sums are in double precision."""


def kept_patches(
    x: Array, kernel: Kernel, *, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1
) -> Array | None:
    """What forward and weight gradient may both be given as ``patches`` to save building them twice, if it is small."""
    rows, columns = _reaches(x.shape, kernel, stride, padding, dilation)
    return conv_batch_last.kept(x, rows, columns) if _batch_last(x.shape, rows, columns, groups) else None


def conv2d_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    patches: Array | None = None,
) -> Array:
    """``y`` (B, Ro, Co, No) of images ``x`` under ``weight`` (kh, kw, Ni of a group, No)."""
    rows, columns = _reaches(x.shape, (weight.shape[0], weight.shape[1]), stride, padding, dilation)
    if _batch_last(x.shape, rows, columns, groups):
        return conv_batch_last.convolve(x, weight, bias, rows, columns, patches)
    x = np.ascontiguousarray(x)
    y = np.empty((len(x), rows.outputs, columns.outputs, weight.shape[3]), dtype=x.dtype)
    if depthwise.suits(weight, groups):
        depthwise.convolve(x, weight, bias, rows, columns, out=y)
    else:
        conv_channels_last.convolve(x, weight, bias, rows, columns, groups=groups, out=y)
    return y


def conv2d_input_gradient(
    grad: Array,
    weight: Array,
    input_shape: tuple[int, int, int, int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Gradient by ``x`` of shape ``input_shape`` from the gradient by ``y``."""
    rows, columns = _reaches(input_shape, (weight.shape[0], weight.shape[1]), stride, padding, dilation, grad)
    if _batch_last(input_shape, rows, columns, groups):
        return conv_batch_last.input_gradient(grad, weight, rows, columns)
    grad = np.ascontiguousarray(grad)
    if depthwise.suits(weight, groups):
        return depthwise.input_gradient(grad, weight, rows, columns)
    return conv_channels_last.input_gradient(grad, weight, rows, columns, groups=groups)


def conv2d_weight_gradient(
    grad: Array,
    x: Array,
    kernel: Kernel,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    patches: Array | None = None,
) -> Array:
    """Gradient by the weights (kh, kw, Ni of a group, No) from the gradient by ``y`` and the images."""
    rows, columns = _reaches(x.shape, kernel, stride, padding, dilation, grad)
    if _batch_last(x.shape, rows, columns, groups):
        return conv_batch_last.weight_gradient(grad, x, rows, columns, patches)
    grad, x = np.ascontiguousarray(grad), np.ascontiguousarray(x)
    if groups == x.shape[3] == grad.shape[3]:
        return depthwise.weight_gradient(grad, x, rows, columns)
    return conv_channels_last.weight_gradient(grad, x, rows, columns, groups=groups)


def channel_sums(grad: Array) -> Array:
    """Sum over all but the last axis: the gradient by a bias."""
    if grad.ndim == 4 and grad.strides[0] == grad.itemsize and len(grad) > 1:
        planes = conv_batch_last.batch_last(grad)
        # the long sums first, along whole batches of all channels
        sums: Array = planes.reshape(-1, *planes.shape[2:]).sum(axis=0).sum(axis=1)
        return sums
    channels = grad.shape[-1]
    numbers = grad.reshape(-1)
    # many pixels side by side: NumPy adds long rows fast and short ones slowly
    width = channels * min(max(1, SUMMED_NUMBERS // channels), len(numbers) // channels)
    whole = len(numbers) - len(numbers) % width
    side_by_side = numbers[:whole].reshape(-1, width).sum(axis=0).reshape(-1, channels)
    total = side_by_side.sum(axis=0, dtype=np.float64)
    total += numbers[whole:].reshape(-1, channels).sum(axis=0)
    result: Array = total.astype(grad.dtype)
    return result


def _reaches(
    shape: tuple[int, ...], kernel: Kernel, stride: Pair, padding: Padding, dilation: Pair, grad: Array | None = None
) -> tuple[Reach, Reach]:
    """Rows and columns; raises ValueError if a gradient of the outputs is not of their shape."""
    rows, columns = reaches((shape[1], shape[2]), kernel, stride=stride, padding=padding, dilation=dilation)
    if grad is not None and (len(grad), *grad.shape[1:3]) != (shape[0], rows.outputs, columns.outputs):
        raise ValueError(f"outputs are {(shape[0], rows.outputs, columns.outputs)}, their gradient {grad.shape[:3]}")
    return rows, columns


def _batch_last(shape: tuple[int, ...], rows: Reach, columns: Reach, groups: int) -> bool:
    """Whether the batch lies last in memory, for images of ``shape``."""
    batch, pixels, channels = shape[0], rows.outputs * columns.outputs, shape[-1]
    small = batch >= LARGE_BATCH and channels <= FEW_CHANNELS and pixels <= SMALL_IMAGE
    grey = batch >= GREY_BATCH and channels <= GREY_CHANNELS and pixels <= GREY_IMAGE
    return groups == 1 and (small or grey)
