"""Layer, group, instance and root-mean-square normalisation: within each sample, whatever else the batch holds.

Layer normalisation: Ba et al. 2016; group normalisation: Wu and He 2018, of which instance normalisation (Ulyanov et
al. 2016) is the case of a group per channel; root mean square: Zhang and Sennrich 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.blocks import BLOCK_BYTES, over_blocks, row_blocks
from nnlib.ops.channel_matrix import WIDE, divisor

Array = NDArray[np.floating]
Sums = NDArray[np.float64]
Place = tuple[slice, slice]
"""Samples and pixels."""
FAR: Final = 2.0
"""Deviations between zero and a mean from which on numbers lose digits that are not about the mean."""


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

    ones = np.ones(rows.shape[1], dtype=x.dtype)
    blocks = row_blocks(len(rows), rows.shape[1] * rows.itemsize)
    scales, shifts = (None if each is None else _repeated(each, blocks) for each in (scale, shift))

    def apply(_: int, block: slice) -> None:
        part, out = rows[block], y[block]
        if mean is not None:
            mean[block, 0] = part @ ones
            mean[block] /= len(ones)
            part = np.subtract(part, mean[block], out=out)
        inverse[block] = _inverse_deviation(_row_products(part, part) / len(ones), epsilon)
        np.multiply(part, inverse[block], out=out)
        if scales is not None:
            out *= scales[: len(out)]
        if shifts is not None:
            out += shifts[: len(out)]

    over_blocks(apply, blocks, nbytes=rows.nbytes)
    return y.reshape(x.shape), RowStatistics(mean, inverse)


def layer_norm_backward(
    grad: Array, x: Array, gamma: Array | None, statistics: RowStatistics, *, axes: int = 1
) -> tuple[Array, Array, Array]:
    """Gradients by ``x`` and, of the shape of the last ``axes`` axes, by ``gamma`` and ``beta``."""
    rows, slopes = _rows(x, axes), _rows(grad, axes)
    columns = rows.shape[1]
    grad_x = np.empty(rows.shape, dtype=x.dtype)
    scale = np.ones(columns, dtype=x.dtype) if gamma is None else gamma.reshape(-1)
    blocks = row_blocks(len(rows), columns * rows.itemsize, least=8)
    sums = np.zeros((2, len(blocks), columns), dtype=np.float64)
    scales = _repeated(scale, blocks)

    def apply(number: int, block: slice) -> None:
        slope, part, out, inverse = slopes[block], rows[block], grad_x[block], statistics.inverse_deviation[block]
        mean = np.zeros_like(inverse) if statistics.mean is None else statistics.mean[block]
        if np.any(np.abs(mean) * inverse > FAR):
            part, mean = part - mean, np.zeros_like(inverse)
        products = slope * part
        sums[0, number] = inverse[:, 0] @ products - (inverse * mean)[:, 0] @ slope
        sums[1, number] = np.ones(len(slope), dtype=slope.dtype) @ slope
        level = (slope @ scale)[:, None] / columns
        along = inverse * ((products @ scale)[:, None] / columns - mean * level)
        # inverse·(scale·slope − level − xhat·along), xhat = (part − mean)·inverse
        tilt = -inverse * inverse * along
        shift = -mean * tilt if statistics.mean is None else -mean * tilt - inverse * level
        np.multiply(slope, scales[: len(out)], out=out)
        out *= inverse
        out += np.multiply(part, tilt, out=products)
        out += shift

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
    mean, variance = _moments(samples, groups, None)
    if np.any(mean * mean > FAR * FAR * variance):
        # the difference of two large numbers: once more, about the mean
        about = mean.astype(x.dtype).astype(np.float64)  # as far from it as the numbers can tell
        rest, variance = _moments(samples, groups, about)
        mean = about + rest
    inverse = 1 / np.sqrt(variance + epsilon)
    scale = _spread(inverse, samples) if gamma is None else _spread(inverse, samples) * gamma
    shift = -_spread(mean, samples) * scale
    if beta is not None:
        shift += beta
    y = np.empty(samples.shape, dtype=x.dtype)
    folded = _folded(samples)
    source, target = (_wide(each, folded) for each in (samples, y))
    scales, shifts = (_tiled(each, folded, x.dtype) for each in (scale, shift))

    def apply(_: int, place: Place) -> None:
        out = target[place]
        np.multiply(source[place], scales[place[0]], out=out)
        out += shifts[place[0]]

    over_blocks(apply, _places(source), nbytes=samples.nbytes)
    return y.reshape(x.shape), RowStatistics(mean.astype(x.dtype), inverse.astype(x.dtype))


def group_norm_backward(
    grad: Array, x: Array, gamma: Array | None, statistics: RowStatistics, *, groups: int
) -> tuple[Array, Array, Array]:
    """Gradients by ``x``, ``gamma`` (C,) and ``beta`` (C,)."""
    samples, slopes = _samples(x, groups), _samples(grad, groups)
    assert statistics.mean is not None
    mean, inverse = (
        _spread(each.astype(np.float64), samples) for each in (statistics.mean, statistics.inverse_deviation)
    )
    far = bool(np.any(np.abs(mean) * inverse > FAR))
    means = mean.astype(x.dtype)[:, None] if far else None
    products, totals = _channel_sums(slopes, samples, means)
    products = (products if far else products - mean * totals) * inverse
    scale = np.ones(samples.shape[2]) if gamma is None else gamma.astype(np.float64)
    along, level = (_spread(_group_means(each * scale, samples, groups), samples) for each in (products, totals))
    # inverse·(scale·grad − level − xhat·along), xhat = (x − mean)·inverse
    tilt, shift = -inverse * inverse * along, -inverse * level
    folded = _folded(samples)
    scales, tilts, shifts = (
        _tiled(each, folded, x.dtype) for each in (inverse * scale, tilt, shift if far else shift - mean * tilt)
    )
    less = _tiled(mean, folded, x.dtype) if far else None
    grad_x = np.empty(samples.shape, dtype=x.dtype)
    source, slope, target = (_wide(each, folded) for each in (samples, slopes, grad_x))

    def apply(_: int, place: Place) -> None:
        out, part, sample = target[place], source[place], place[0]
        if less is not None:
            part = np.subtract(part, less[sample], out=out)
        np.multiply(part, tilts[sample], out=out)
        out += shifts[sample]
        out += slope[place] * scales[sample]

    over_blocks(apply, _places(source), nbytes=samples.nbytes)
    return grad_x.reshape(x.shape), products.sum(axis=0).astype(x.dtype), totals.sum(axis=0).astype(x.dtype)


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


def _repeated(row: Array, blocks: list[slice]) -> Array:
    """``row`` once for each row of the longest block: arrays alike go through NumPy much faster than a repeated row."""
    return np.tile(row, (max((block.stop - block.start for block in blocks), default=0), 1))


def _row_products(a: Array, b: Array) -> Array:
    """Σ a·b of each row, (rows, 1)."""
    found: Array = np.matmul(a[:, None], b[:, :, None])[:, 0]
    return found


def _places(samples: Array) -> list[Place]:
    """Samples and pixels of a cacheful each: several samples, or a part of one."""
    batch, pixels, channels = samples.shape
    row = channels * samples.itemsize
    if pixels * row > BLOCK_BYTES:
        return [(slice(n, n + 1), part) for n in range(batch) for part in row_blocks(pixels, row)]
    return [(part, slice(0, pixels)) for part in row_blocks(batch, pixels * row)]


def _folded(samples: Array) -> int:
    """Pixels that make one row for a pass that writes, as for :data:`nnlib.ops.channel_matrix.WIDE`."""
    _, pixels, channels = samples.shape
    # what is repeated for a sample's row must stay small beside the sample
    return divisor(pixels, min(WIDE // channels, pixels // 4))


def _wide(samples: Array, folded: int) -> Array:
    """(B, pixels, C) as (B, pixels/folded, folded·C)."""
    batch, pixels, channels = samples.shape
    return samples.reshape(batch, pixels // folded, folded * channels)


def _tiled(values: Sums, folded: int, dtype: np.dtype[np.floating]) -> Array:
    """A number per channel (B, C) for each number of such a row: (B, 1, folded·C)."""
    return np.tile(values.astype(dtype), (1, folded))[:, None]


def _channel_sums(slopes: Array, samples: Array, less: Array | None) -> tuple[Sums, Sums]:
    """Of each sample's channels (B, C) over the pixels Σ slope·(x − less) and Σ slope; ``less`` (B, 1, C)."""
    places = _places(samples)
    batch, _, channels = samples.shape
    blocks = max(1, len(places) // batch)
    sums = np.zeros((2, batch, blocks, channels), dtype=np.float64)

    def add(number: int, place: Place) -> None:
        slope, part, sample = slopes[place], samples[place], place[0]
        if less is not None:
            part = part - less[sample]
        block = number % blocks
        sums[0, sample, block] = np.einsum("bpc,bpc->bc", slope, part)
        sums[1, sample, block] = np.matmul(np.ones((1, slope.shape[1]), dtype=slope.dtype), slope)[:, 0]

    over_blocks(add, places, nbytes=samples.nbytes)
    found = sums.sum(axis=2)
    return found[0], found[1]


def _moments(samples: Array, groups: int, about: Sums | None) -> tuple[Sums, Sums]:
    """Mean and variance (B, groups) of the numbers less ``about`` (B, groups)."""
    less = None if about is None else _spread(about, samples).astype(samples.dtype)[:, None]
    numbers = samples if less is None else samples - less
    squares, sums = _channel_sums(numbers, numbers, None)
    mean, square = (_group_means(each, samples, groups) for each in (sums, squares))
    return mean, np.maximum(square - mean * mean, 0)


def _group_means(sums: Sums, samples: Array, groups: int) -> Sums:
    """Mean of each group (B, groups) from sums over pixels (B, C)."""
    found: Sums = sums.reshape(len(sums), groups, -1).mean(axis=2) / samples.shape[1]
    return found


def _spread(values: Sums, samples: Array) -> Sums:
    """A number per group (B, groups) for each of its channels: (B, C)."""
    return np.repeat(values, samples.shape[2] // values.shape[1], axis=1)


def _inverse_deviation(variance: Array, epsilon: float) -> Array:
    found: Array = 1 / np.sqrt(variance + np.asarray(epsilon, dtype=variance.dtype))
    return found
