"""Batch normalisation (Ioffe and Szegedy 2015): each channel, the last axis, over all others of (..., C).

Each direction is two passes over memory, one that sums and one that writes. Sums of a cacheful are taken in the
arrays' precision and about its own mean, and added up in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.blocks import over_blocks
from nnlib.ops.channel_matrix import ChannelMatrix

Array = NDArray[np.floating]
Sums = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BatchStatistics:
    """What backward needs of a batch: ``mean`` and biased ``variance`` (C,) of ``count`` numbers of each channel."""

    mean: Sums
    variance: Sums
    count: int
    epsilon: float

    @property
    def inverse_deviation(self) -> Sums:
        """1 / √(variance + epsilon)."""
        return _inverse_deviation(self.variance, self.epsilon)

    def running(self, mean: Array, variance: Array, *, momentum: float) -> tuple[Array, Array]:
        """Running mean and variance after this batch: ``momentum`` of its own, of its variance the unbiased estimate.

        Raises ValueError for a batch of one number per channel, which has none.
        """
        if self.count < 2:
            raise ValueError("batch normalisation in training needs more than one number per channel")
        unbiased = self.variance * (self.count / (self.count - 1))
        return (
            ((1 - momentum) * mean + momentum * self.mean).astype(mean.dtype),
            ((1 - momentum) * variance + momentum * unbiased).astype(variance.dtype),
        )


def batch_statistics(x: Array, *, epsilon: float) -> BatchStatistics:
    """Mean and biased variance of each channel of ``x`` (..., C), by blocks that are combined (Chan et al. 1979)."""
    view = ChannelMatrix.of(x)
    matrix = view.matrix(x)
    blocks = view.blocks(matrix)
    means, squares, sizes = (view.partial(matrix, blocks) for _ in range(3))

    def add(number: int, block: slice) -> None:
        part, place, size = matrix[block], view.place(number, block), view.size(block)
        mean = view.sums(part) / size
        deviation = part - (mean[:, None] if view.by_rows else mean)
        means[place], sizes[place] = mean, size
        squares[place] = view.products(deviation, deviation)

    over_blocks(add, blocks, nbytes=matrix.nbytes)
    mean = view.per_channel(means * sizes) / view.count
    away = means - view.spread(mean, np.dtype(np.float64)).reshape(-1 if view.by_rows else (1, -1))
    away *= away
    away *= sizes
    squares += away
    return BatchStatistics(mean, view.per_channel(squares) / view.count, view.count, epsilon)


def batch_norm_forward(
    x: Array, gamma: Array | None, beta: Array | None, *, epsilon: float
) -> tuple[Array, BatchStatistics]:
    """In training: ``y = gamma·(x − mean)/√(variance + epsilon) + beta`` (..., C), and the batch's statistics."""
    statistics = batch_statistics(x, epsilon=epsilon)
    y = batch_norm_inference(
        x, gamma, beta, mean=statistics.mean, variance=statistics.variance, epsilon=statistics.epsilon
    )
    return y, statistics


def batch_norm_inference(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    *,
    mean: NDArray[np.floating],
    variance: NDArray[np.floating],
    epsilon: float,
) -> Array:
    """The same with given statistics (C,): one multiplication and one addition for each number."""
    scale, shift = fold_statistics(gamma, beta, mean=mean, variance=variance, epsilon=epsilon)
    view = ChannelMatrix.of(x)
    y = view.empty(x)
    source, target = view.matrix(x), view.matrix(y)
    scales, shifts = view.spread(scale, x.dtype), view.spread(shift, x.dtype)

    def apply(_: int, block: slice) -> None:
        out = target[block]
        np.multiply(source[block], view.part(scales, block), out=out)
        out += view.part(shifts, block)

    over_blocks(apply, view.blocks(source), nbytes=source.nbytes)
    return y


def fold_statistics(
    gamma: Array | None,
    beta: Array | None,
    *,
    mean: NDArray[np.floating],
    variance: NDArray[np.floating],
    epsilon: float,
) -> tuple[Sums, Sums]:
    """``scale`` and ``shift`` (C,) such that ``y = x·scale + shift``."""
    inverse = _inverse_deviation(variance, epsilon)
    scale: Sums = inverse if gamma is None else gamma * inverse
    shift: Sums = -mean * scale
    return scale, shift if beta is None else shift + beta


def batch_norm_backward(
    grad: Array, x: Array, gamma: Array | None, statistics: BatchStatistics
) -> tuple[Array, Array, Array]:
    """Gradients by ``x``, ``gamma`` and ``beta`` in training, where mean and variance depend on ``x``, too."""
    view = ChannelMatrix.of(x)
    source, slope = view.matrix(x), view.matrix(grad)
    mean, inverse, count = statistics.mean, statistics.inverse_deviation, view.count
    grad_gamma, grad_beta = _parameter_gradients(view, slope, source, mean, inverse)
    scale = inverse if gamma is None else gamma * inverse
    # grad_x = scale·(grad − grad_beta/count − xhat·grad_gamma/count)
    means, scales, tilts, shifts = (
        view.spread(each, x.dtype)
        for each in (mean, scale, -scale * inverse * grad_gamma / count, -scale * grad_beta / count)
    )
    grad_x = view.empty(x)
    target = view.matrix(grad_x)

    def apply(_: int, block: slice) -> None:
        out = target[block]
        np.subtract(source[block], view.part(means, block), out=out)
        out *= view.part(tilts, block)
        out += view.part(shifts, block)
        out += slope[block] * view.part(scales, block)

    over_blocks(apply, view.blocks(source), nbytes=source.nbytes)
    return grad_x, grad_gamma.astype(x.dtype), grad_beta.astype(x.dtype)


def batch_norm_inference_backward(
    grad: Array,
    x: Array,
    gamma: Array | None,
    *,
    mean: NDArray[np.floating],
    variance: NDArray[np.floating],
    epsilon: float,
) -> tuple[Array, Array, Array]:
    """Gradients by ``x``, ``gamma`` and ``beta`` where the statistics were given."""
    view = ChannelMatrix.of(x)
    source, slope = view.matrix(x), view.matrix(grad)
    inverse = _inverse_deviation(variance, epsilon)
    grad_gamma, grad_beta = _parameter_gradients(view, slope, source, mean.astype(np.float64), inverse)
    scales = view.spread(inverse if gamma is None else gamma * inverse, x.dtype)
    grad_x = view.empty(x)
    target = view.matrix(grad_x)

    def apply(_: int, block: slice) -> None:
        np.multiply(slope[block], view.part(scales, block), out=target[block])

    over_blocks(apply, view.blocks(source), nbytes=source.nbytes)
    return grad_x, grad_gamma.astype(x.dtype), grad_beta.astype(x.dtype)


def _parameter_gradients(
    view: ChannelMatrix, slope: Array, source: Array, mean: Sums, inverse: Sums
) -> tuple[Sums, Sums]:
    """Σ grad·xhat and Σ grad of each channel."""
    blocks = view.blocks(source)
    means = view.spread(mean, source.dtype)
    products, sums = view.partial(source, blocks), view.partial(source, blocks)

    def add(number: int, block: slice) -> None:
        part, place = slope[block], view.place(number, block)
        products[place] = view.products(part, source[block] - view.part(means, block))
        sums[place] = view.sums(part)

    over_blocks(add, blocks, nbytes=source.nbytes)
    grad_gamma: Sums = view.per_channel(products) * inverse
    return grad_gamma, view.per_channel(sums)


def _inverse_deviation(variance: NDArray[np.floating], epsilon: float) -> Sums:
    found: Sums = 1 / np.sqrt(variance.astype(np.float64) + epsilon)
    return found
