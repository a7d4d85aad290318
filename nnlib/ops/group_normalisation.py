"""Layer, group, instance and root-mean-square normalisation: within each sample, whatever else the batch holds.

Layer normalisation: Ba et al. 2016; group normalisation: Wu and He 2018, of which instance normalisation (Ulyanov et
al. 2016) is the case of a group per channel; root mean square: Zhang and Sennrich 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.blocks import over_blocks, row_blocks

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class RowStatistics:
    """What backward needs: ``mean`` and ``inverse_deviation`` of each row or of each sample's groups.

    Rows: (rows, 1); groups: (B, groups). The mean is None where nothing was subtracted.
    """

    mean: Array | None
    inverse_deviation: Array


def layer_norm_forward(
    x: Array, gamma: Array | None, beta: Array | None, *, axes: int = 1, epsilon: float, centred: bool = True
) -> tuple[Array, RowStatistics]:
    """``y = gamma·(x − mean)/√(variance + epsilon) + beta`` over the last ``axes`` axes, which are gamma's and beta's.

    Not ``centred``: no mean is subtracted, and the variance is the mean square.
    """
    rows = _rows(x, axes)
    y = np.empty(rows.shape, dtype=x.dtype)
    scale, shift = (None if each is None else each.reshape(-1) for each in (gamma, beta))
    mean = np.empty((len(rows), 1), dtype=x.dtype) if centred else None
    inverse = np.empty((len(rows), 1), dtype=x.dtype)

    def apply(_: int, block: slice) -> None:
        part, out = rows[block], y[block]
        if mean is not None:
            mean[block] = part.mean(axis=1, keepdims=True)
            part = np.subtract(part, mean[block], out=out)
        inverse[block] = _inverse_deviation(_row_products(part, part) / part.shape[1], epsilon)
        np.multiply(part, inverse[block], out=out)
        if scale is not None:
            out *= scale
        if shift is not None:
            out += shift

    over_blocks(apply, row_blocks(len(rows), rows.shape[1] * rows.itemsize), nbytes=rows.nbytes)
    return y.reshape(x.shape), RowStatistics(mean, inverse)


def layer_norm_backward(
    grad: Array, x: Array, gamma: Array | None, statistics: RowStatistics, *, axes: int = 1
) -> tuple[Array, Array, Array]:
    """Gradients by ``x`` and, of the shape of the last ``axes`` axes, by ``gamma`` and ``beta``."""
    rows, slopes = _rows(x, axes), _rows(grad, axes)
    grad_x = np.empty(rows.shape, dtype=x.dtype)
    scale = None if gamma is None else gamma.reshape(-1)
    blocks = row_blocks(len(rows), rows.shape[1] * rows.itemsize, least=8)
    sums = np.zeros((2, len(blocks), rows.shape[1]), dtype=np.float64)

    def apply(number: int, block: slice) -> None:
        part, out, inverse = slopes[block], grad_x[block], statistics.inverse_deviation[block]
        normal = rows[block] if statistics.mean is None else rows[block] - statistics.mean[block]
        normal = normal * inverse
        ones = np.ones(len(part), dtype=part.dtype)
        sums[0, number] = np.einsum("rc,rc->c", part, normal)
        sums[1, number] = ones @ part
        slope = part if scale is None else part * scale
        along = _row_products(slope, normal) / part.shape[1]
        np.multiply(normal, -along, out=out)
        out += slope
        if statistics.mean is not None:
            out -= slope.mean(axis=1, keepdims=True)
        out *= inverse

    over_blocks(apply, blocks, nbytes=rows.nbytes)
    grad_gamma, grad_beta = sums.sum(axis=1).astype(x.dtype).reshape(2, *x.shape[x.ndim - axes :])
    return grad_x.reshape(x.shape), grad_gamma, grad_beta


def rms_norm_forward(x: Array, gamma: Array | None, *, axes: int = 1, epsilon: float) -> tuple[Array, RowStatistics]:
    """``y = gamma·x/√(mean of x² + epsilon)`` over the last ``axes`` axes."""
    return layer_norm_forward(x, gamma, None, axes=axes, epsilon=epsilon, centred=False)


def rms_norm_backward(
    grad: Array, x: Array, gamma: Array | None, statistics: RowStatistics, *, axes: int = 1
) -> tuple[Array, Array]:
    """Gradients by ``x`` and ``gamma``."""
    grad_x, grad_gamma, _ = layer_norm_backward(grad, x, gamma, statistics, axes=axes)
    return grad_x, grad_gamma


def group_norm_forward(
    x: Array, gamma: Array | None, beta: Array | None, *, groups: int, epsilon: float
) -> tuple[Array, RowStatistics]:
    """Each of ``groups`` groups of channels of each sample of ``x`` (B, ..., C) by its mean and variance.

    ``gamma`` and ``beta`` (C,). A group per channel is instance normalisation. Raises ValueError where the channels
    do not divide into the groups.
    """
    samples = _samples(x, groups)
    batch, _, channels = samples.shape
    y = np.empty(samples.shape, dtype=x.dtype)
    mean, inverse = (np.empty((batch, groups), dtype=x.dtype) for _ in range(2))

    def apply(_: int, block: slice) -> None:
        part, out = samples[block], y[block]
        first = _group_means(_pixel_sums(part), part.shape[1], groups)
        np.subtract(part, _spread(first, channels), out=out)
        # what rounding has left of the mean in long sums
        rest = _group_means(_pixel_sums(out), part.shape[1], groups)
        mean[block] = first + rest
        squares = np.einsum("bpc,bpc->bc", out, out)
        variance = _group_means(squares, part.shape[1], groups) - rest * rest
        inverse[block] = _inverse_deviation(variance, epsilon)
        scale = _spread(inverse[block], channels)
        if gamma is not None:
            scale = scale * gamma
        shift = -_spread(rest, channels) * scale
        out *= scale
        out += shift if beta is None else shift + beta

    over_blocks(apply, row_blocks(batch, samples[0].nbytes), nbytes=samples.nbytes)
    return y.reshape(x.shape), RowStatistics(mean, inverse)


def group_norm_backward(
    grad: Array, x: Array, gamma: Array | None, statistics: RowStatistics, *, groups: int
) -> tuple[Array, Array, Array]:
    """Gradients by ``x``, ``gamma`` (C,) and ``beta`` (C,)."""
    samples, slopes = _samples(x, groups), _samples(grad, groups)
    batch, pixels, channels = samples.shape
    grad_x = np.empty(samples.shape, dtype=x.dtype)
    sums = np.empty((2, batch, channels), dtype=np.float64)
    assert statistics.mean is not None
    mean = statistics.mean

    def apply(_: int, block: slice) -> None:
        slope, out = slopes[block], grad_x[block]
        inverse = statistics.inverse_deviation[block]
        normal = samples[block] - _spread(mean[block], channels)
        normal *= _spread(inverse, channels)
        products, totals = np.einsum("bpc,bpc->bc", slope, normal), _pixel_sums(slope)
        sums[:, block] = products, totals
        if gamma is not None:
            products, totals = products * gamma, totals * gamma
        along, level = (_spread(_group_means(each, pixels, groups), channels) for each in (products, totals))
        np.multiply(slope, 1 if gamma is None else gamma, out=out)
        normal *= along
        out -= normal
        out -= level
        out *= _spread(inverse, channels)

    over_blocks(apply, row_blocks(batch, samples[0].nbytes), nbytes=samples.nbytes)
    grad_gamma, grad_beta = sums.sum(axis=1).astype(x.dtype)
    return grad_x.reshape(x.shape), grad_gamma, grad_beta


def _rows(x: Array, axes: int) -> Array:
    """``x`` as (rows, numbers of the last ``axes`` axes). Raises ValueError where it has not so many axes."""
    if not 0 < axes <= x.ndim:
        raise ValueError(f"an array of shape {x.shape} has no last {axes} axes to normalise over")
    return x.reshape(-1, prod(x.shape[x.ndim - axes :]))


def _samples(x: Array, groups: int) -> Array:
    """``x`` as (B, pixels, C). Raises ValueError where the channels do not divide into groups."""
    if groups < 1 or x.shape[-1] % groups:
        raise ValueError(f"{x.shape[-1]} channels do not divide into {groups} groups")
    return np.ascontiguousarray(x).reshape(len(x), -1, x.shape[-1])


def _row_products(a: Array, b: Array) -> Array:
    """Σ a·b of each row, (rows, 1)."""
    found: Array = np.einsum("rc,rc->r", a, b)[:, None]
    return found


def _pixel_sums(samples: Array) -> Array:
    """Σ over the pixels of (B, pixels, C): (B, C)."""
    found: Array = np.matmul(np.ones((1, samples.shape[1]), dtype=samples.dtype), samples)[:, 0]
    return found


def _group_means(sums: Array, pixels: int, groups: int) -> Array:
    """Mean of each group (B, groups) from sums over pixels (B, C)."""
    found: Array = sums.reshape(len(sums), groups, -1).mean(axis=2) / pixels
    return found


def _spread(values: Array, channels: int) -> Array:
    """A number per group (B, groups) for each of its channels: (B, 1, C)."""
    found: Array = np.repeat(values, channels // values.shape[1], axis=1)[:, None]
    return found


def _inverse_deviation(variance: Array, epsilon: float) -> Array:
    found: Array = 1 / np.sqrt(variance + np.asarray(epsilon, dtype=variance.dtype))
    return found
