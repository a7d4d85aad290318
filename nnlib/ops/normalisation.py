"""Batch normalisation (Ioffe and Szegedy 2015): each channel, the last axis, over all others of (..., C).

Each direction is two passes over memory, one that sums and one that writes. Sums of a cacheful are taken in the
arrays' precision and added up in float64; where a mean is far from zero, everything is about the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.blocks import over_blocks
from nnlib.ops.channel_matrix import ChannelMatrix

Array = NDArray[np.floating]
Sums = NDArray[np.float64]

FAR: Final = 2.0
"""Deviations between zero and a mean from which on numbers lose digits that are not about the mean."""


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
    """Mean and biased variance of each channel of ``x`` (..., C)."""
    view = ChannelMatrix.of(x)
    matrix = view.matrix(x)
    mean, variance = _moments(view, matrix, None)
    if np.any(mean * mean > FAR * FAR * variance):
        # the difference of two large numbers: once more, about the mean as far as the numbers can tell it
        about = mean.astype(x.dtype)
        rest, variance = _moments(view, matrix, about)
        mean = about + rest
    return BatchStatistics(mean, variance, view.count, epsilon)


def _moments(view: ChannelMatrix, matrix: Array, about: Array | None) -> tuple[Sums, Sums]:
    """Mean and variance (C,) of the numbers less ``about``."""
    blocks = view.summed_blocks(matrix)
    sums, squares = view.partial(matrix, blocks), view.partial(matrix, blocks)
    less = None if about is None else view.spread(about, matrix.dtype)

    def add(number: int, block: slice) -> None:
        part, place = matrix[block], view.place(number, block)
        if less is not None:
            part = part - view.part(less, block)
        sums[place], squares[place] = view.sums(part), view.products(part, part)

    over_blocks(add, blocks, nbytes=matrix.nbytes)
    mean, square = (view.per_channel(each) / view.count for each in (sums, squares))
    return mean, np.maximum(square - mean * mean, 0)


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
    view = ChannelMatrix.of(x, wide=True)
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
    mean, inverse, count = statistics.mean, statistics.inverse_deviation, statistics.count
    grad_gamma, grad_beta = _parameter_gradients(grad, x, mean, inverse)
    view = ChannelMatrix.of(x, wide=True)
    source, slope = view.matrix(x), view.matrix(grad)
    scale = inverse if gamma is None else gamma * inverse
    # grad_x = scale·(grad − grad_beta/count − xhat·grad_gamma/count), xhat = (x − mean)·inverse
    tilt, shift = -scale * inverse * grad_gamma / count, -scale * grad_beta / count
    far = _far(mean, inverse)
    means = view.spread(mean, x.dtype) if far else None
    scales, tilts, shifts = (
        view.spread(each, x.dtype) for each in (scale, tilt, shift if far else shift - mean * tilt)
    )
    grad_x = view.empty(x)
    target = view.matrix(grad_x)

    def apply(_: int, block: slice) -> None:
        out, part = target[block], source[block]
        if means is not None:
            part = np.subtract(part, view.part(means, block), out=out)
        np.multiply(part, view.part(tilts, block), out=out)
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
    inverse = _inverse_deviation(variance, epsilon)
    grad_gamma, grad_beta = _parameter_gradients(grad, x, mean.astype(np.float64), inverse)
    view = ChannelMatrix.of(x, wide=True)
    slope = view.matrix(grad)
    scales = view.spread(inverse if gamma is None else gamma * inverse, x.dtype)
    grad_x = view.empty(x)
    target = view.matrix(grad_x)

    def apply(_: int, block: slice) -> None:
        np.multiply(slope[block], view.part(scales, block), out=target[block])

    over_blocks(apply, view.blocks(slope), nbytes=slope.nbytes)
    return grad_x, grad_gamma.astype(x.dtype), grad_beta.astype(x.dtype)


def _parameter_gradients(grad: Array, x: Array, mean: Sums, inverse: Sums) -> tuple[Sums, Sums]:
    """Σ grad·xhat and Σ grad of each channel."""
    view = ChannelMatrix.of(x)
    source, slope = view.matrix(x), view.matrix(grad)
    blocks = view.summed_blocks(source)
    far = _far(mean, inverse)
    means = view.spread(mean, source.dtype) if far else None
    products, sums = view.partial(source, blocks), view.partial(source, blocks)

    def add(number: int, block: slice) -> None:
        some, part, place = slope[block], source[block], view.place(number, block)
        if means is not None:
            part = part - view.part(means, block)
        products[place], sums[place] = view.products(some, part), view.sums(some)

    over_blocks(add, blocks, nbytes=source.nbytes)
    grad_beta = view.per_channel(sums)
    along = view.per_channel(products)
    grad_gamma: Sums = (along if far else along - mean * grad_beta) * inverse
    return grad_gamma, grad_beta


def _far(mean: Sums, inverse: Sums) -> bool:
    """True if a mean is so many deviations from zero that it has to be subtracted before anything is multiplied."""
    return bool(np.any(np.abs(mean) * inverse > FAR))


def _inverse_deviation(variance: NDArray[np.floating], epsilon: float) -> Sums:
    found: Sums = 1 / np.sqrt(variance.astype(np.float64) + epsilon)
    return found
