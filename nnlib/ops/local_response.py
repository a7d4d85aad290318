"""Local response normalisation across channels (Krizhevsky et al. 2012), with ``alpha`` divided by the window's size.

``y = x·s^(−beta)`` with ``s = k + alpha/size·Σ x²`` over ``size`` channels around each, fewer at the ends: what
PyTorch and Caffe compute; Krizhevsky's own formula has ``alpha`` undivided. The window of an even size reaches one
channel further down than up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.blocks import over_blocks, row_blocks

Array = NDArray[np.floating]


def local_response_norm_forward(x: Array, *, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
    """``y`` and ``s`` (..., C), which backward needs. Raises ValueError for a window of no channel."""
    rows = x.reshape(-1, x.shape[-1])
    y, scale = np.empty(rows.shape, dtype=x.dtype), np.empty(rows.shape, dtype=x.dtype)
    below, above = reach(size)

    def apply(_: int, block: slice) -> None:
        part, out = rows[block], scale[block]
        np.multiply(window_sums(part * part, below, above), x.dtype.type(alpha / size), out=out)
        out += x.dtype.type(k)
        np.multiply(part, _power(out, -beta), out=y[block])

    over_blocks(apply, row_blocks(len(rows), x.shape[-1] * x.itemsize), nbytes=x.nbytes)
    return y.reshape(x.shape), scale.reshape(x.shape)


def local_response_norm_backward(grad: Array, x: Array, scale: Array, *, size: int, alpha: float, beta: float) -> Array:
    """Gradient by ``x``: ``grad·s^(−beta) − 2·alpha·beta/size·x·Σ grad·y/s`` over the channels whose window sees it."""
    rows, slopes, scales = (each.reshape(-1, x.shape[-1]) for each in (x, grad, scale))
    grad_x = np.empty(rows.shape, dtype=x.dtype)
    below, above = reach(size)

    def apply(_: int, block: slice) -> None:
        out, part = grad_x[block], rows[block]
        np.multiply(slopes[block], _power(scales[block], -beta), out=out)
        seen = window_sums(out * part / scales[block], above, below)
        seen *= part
        seen *= x.dtype.type(2 * alpha * beta / size)
        out -= seen

    over_blocks(apply, row_blocks(len(rows), x.shape[-1] * x.itemsize), nbytes=x.nbytes)
    return grad_x.reshape(x.shape)


def reach(size: int) -> tuple[int, int]:
    """How many channels below and above a window of ``size`` reaches. Raises ValueError for a window of no channel."""
    if size < 1:
        raise ValueError(f"a window of {size} channels sees nothing; at least 1 is needed")
    return size // 2, (size - 1) // 2


def window_sums(rows: Array, below: int, above: int) -> Array:
    """Σ of each row's numbers from ``below`` before to ``above`` behind each, those beyond the ends being 0."""
    columns = rows.shape[1]
    total = rows.copy()
    for offset in range(1, min(max(below, above), columns - 1) + 1):
        if offset <= below:
            total[:, offset:] += rows[:, :-offset]
        if offset <= above:
            total[:, :-offset] += rows[:, offset:]
    return total


def _power(values: Array, exponent: float) -> Array:
    """``values ** exponent``; of AlexNet's −0.75 by square roots, which are much faster."""
    found: Array
    if exponent == -0.75:
        root = np.sqrt(values)
        found = 1 / (root * np.sqrt(root))
    elif exponent == -0.5:
        found = 1 / np.sqrt(values)
    else:
        found = values ** values.dtype.type(exponent)
    return found
