"""The error function and its complement, and the normal distribution made of them.

float64: the rational approximations of W. J. Cody, "Rational Chebyshev approximations for the error function",
Math. Comp. 23 (1969) 631-637. float32: one rational function of odd degree 13 over even degree 8 on [-4, 4], that of
the library Eigen.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt
from typing import Final

import numpy as np

from nnlib.ops.in_blocks import Array, in_blocks

SMALL: Final = 0.46875
LARGE: Final = 4.0
_A: Final = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_B: Final = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_C: Final = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
_D: Final = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
_P: Final = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
_Q: Final = (
    1.0,
    2.56852019228982242e0,
    1.87295284992346725e0,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)
_ALPHA: Final = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_BETA: Final = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)


def erf(x: Array, *, out: Array | None = None) -> Array:
    """``2/√π·∫ exp(−t²) dt`` from 0 to x: to 1e-15 in float64, to 5e-7 of the result in float32."""
    return in_blocks(_erf, x, out=out)


def erfc(x: Array, *, out: Array | None = None) -> Array:
    """``1 − erf(x)`` in float64 to 1e-12 of the result, where it is tiny too; in float32 to 5e-7 of 1."""
    return in_blocks(_erfc, x, out=out)


def normal_cdf(x: Array) -> Array:
    """The share of the standard normal distribution below x."""
    y = _erfc(x * -sqrt(0.5))
    y *= 0.5
    return y


def normal_density(x: Array) -> Array:
    """``exp(−x²/2)/√(2π)``."""
    # far out the square would overflow; the density is 0 long before
    y = np.clip(x, -50, 50)
    y *= y
    y *= -0.5
    np.exp(y, out=y)
    y *= 1 / sqrt(2 * pi)
    return y


def _erf(x: Array) -> Array:
    if x.dtype == np.float32:
        return _single(x)
    size = np.abs(x)
    far = size > SMALL
    y = _near(np.minimum(size, SMALL))
    if far.any():
        y[far] = 1 - _tail(size[far])
    return np.copysign(y, x, out=y)


def _erfc(x: Array) -> Array:
    if x.dtype == np.float32:
        y = _single(x)
        return np.subtract(1, y, out=y)
    size = np.abs(x)
    far = size > SMALL
    y = 1 - np.copysign(_near(np.minimum(size, SMALL)), x)
    if far.any():
        tail = _tail(size[far])
        y[far] = np.where(x[far] > 0, tail, 2 - tail)
    return y


def _near(size: Array) -> Array:
    """erf of numbers from 0 to SMALL."""
    square = size * size
    return size * _polynomial(square, _A) / _polynomial(square, _B)


def _tail(size: Array) -> Array:
    """erfc of numbers above SMALL."""
    inner = np.minimum(size, LARGE)
    y = _polynomial(inner, _C) / _polynomial(inner, _D)
    outer = size > LARGE
    if outer.any():
        # beyond 1e10 it is 0 in any case
        large = np.minimum(size[outer], 1e10)
        inverse = 1 / (large * large)
        y[outer] = (1 / sqrt(pi) - inverse * _polynomial(inverse, _P) / _polynomial(inverse, _Q)) / large
    # above 30 the exponential is 0
    bounded = np.minimum(size, 30.0)
    y *= np.exp(-bounded * bounded)
    return y


def _single(x: Array) -> Array:
    bounded = np.clip(x, -4, 4)
    square = bounded * bounded
    bounded *= _polynomial(square, _ALPHA)
    bounded /= _polynomial(square, _BETA)
    return np.clip(bounded, -1, 1, out=bounded)


def _polynomial(x: Array, coefficients: Sequence[float]) -> Array:
    """Highest power first."""
    y = x * coefficients[0]
    for each in coefficients[1:-1]:
        y += each
        y *= x
    y += coefficients[-1]
    return y
