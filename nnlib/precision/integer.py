"""Products of integers with sums of 32 bits, and what makes narrow integers of the sums again.

The products are summed in float64, which is exact below 2^53, and the sums then checked against 32 bits: a sum that
does not fit saturates and is counted. So the order of summation changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnlib.ops.convolution import conv2d_forward
from nnlib.precision.fixed import Floats, Integers, Rounding, rounded, saturated
from nnlib.precision.formats import STORAGE, IntegerName, integer_bits, integer_limits

EXACT: Final = 2.0**53
"""Whole numbers up to this are exact in float64."""
SUM_BITS: Final = 30
"""What sums of integers of several steps may take, without their sign."""


@dataclass(frozen=True, eq=False)
class Sums:
    """32-bit sums of products, and how many left 32 bits and were saturated."""

    values: NDArray[np.int32]
    overflows: int


def integer_matmul(a: Integers, b: Integers, bias: NDArray[np.int32] | None = None) -> Sums:
    """``a (m, k) · b (k, n) + bias (n,)``. Raises ValueError if float64 could not sum the products exactly."""
    check_exact(a, b, depth=a.shape[-1])
    return sums_of(np.matmul(a.astype(np.float64), b.astype(np.float64)), bias)


def integer_conv2d(
    x: Integers, weight: Integers, bias: NDArray[np.int32] | None = None, *, stride: int = 1, padding: int = 0
) -> Sums:
    """Convolution of images (B, H, W, Ni) with weights (kh, kw, Ni, No); padding is the integer 0. Raises ValueError as
    :func:`integer_matmul`."""
    check_exact(x, weight, depth=int(np.prod(weight.shape[:-1])))
    exact = conv2d_forward(x.astype(np.float64), weight.astype(np.float64), None, stride=stride, padding=padding)
    return sums_of(exact.astype(np.float64, copy=False), bias)


def sums_of(exact: Floats, bias: NDArray[np.int32] | None = None) -> Sums:
    """Exact sums as 32-bit integers, ``bias`` added before they are checked."""
    whole, outside = saturated(exact if bias is None else exact + bias.astype(np.float64), "int32")
    return Sums(values=whole.astype(np.int32), overflows=outside)


def integer_sum(parts: Sequence[Integers], ratios: ArrayLike) -> Sums:
    """The sum of ``parts``, each times its ratio and rounded to nearest first: integers of several steps under one."""
    exact: Floats | None = None
    for part, ratio in zip(parts, np.asarray(ratios, dtype=np.float64), strict=True):
        whole = np.rint(part.astype(np.float64) * ratio)
        exact = whole if exact is None else exact + whole
    if exact is None:
        raise ValueError("a sum of nothing")
    return sums_of(exact)


def sum_scales(steps: Sequence[float], result: float, storage: IntegerName) -> NDArray[np.float64]:
    """Ratios for :func:`integer_sum` of numbers with ``steps``, and the multiplier to the step ``result`` at the end.

    The step of the sums is the finest at which they fit 31 bits whatever comes in.
    """
    parts = np.asarray(steps, dtype=np.float64)
    unit = parts.sum() * 2.0 ** (integer_bits(storage) - 1 - SUM_BITS)
    return np.append(parts / unit, unit / result)


def check_exact(a: Integers, b: Integers, *, depth: int) -> None:
    """Raise ValueError unless sums of ``depth`` products of numbers of these formats are exact in float64."""
    largest = depth * float(np.iinfo(a.dtype).max + 1) * float(np.iinfo(b.dtype).max + 1)
    if largest > EXACT:
        raise ValueError(f"{depth} products of {a.dtype} and {b.dtype} may leave the 53 bits that float64 sums exactly")


def requantise(
    sums: NDArray[np.int32],
    multiplier: ArrayLike,
    storage: IntegerName,
    *,
    relu: bool = False,
    clipped: bool = False,
    rounding: Rounding = "nearest",
    key: int = 0,
    first: int = 0,
) -> tuple[Integers, int]:
    """``sums · multiplier`` as integers of ``storage``, and how many saturated.

    ``multiplier``: step of the sums over step of the result, one number or one for each place of the last axis.
    ``relu``: negative results become 0 and do not count. ``clipped``: nor do those above the largest integer, which is
    the limit of a clipped ReLU. ``key``, ``first``: see :func:`rounded`.
    """
    scaled = sums.astype(np.float64) * np.asarray(multiplier, dtype=np.float64)
    if relu:
        scaled = np.maximum(scaled, 0)
    if clipped:
        scaled = np.minimum(scaled, integer_limits(storage)[1])
    whole, outside = saturated(rounded(scaled, rounding=rounding, key=key, first=first), storage)
    return whole.astype(STORAGE[storage]), outside


def quantised_bias(bias: ArrayLike, step: ArrayLike) -> NDArray[np.int32]:
    """A bias in units of the sums' ``step``, rounded to nearest and saturated."""
    whole, _ = saturated(np.rint(np.asarray(bias, dtype=np.float64) / np.asarray(step, dtype=np.float64)), "int32")
    return whole.astype(np.int32)
