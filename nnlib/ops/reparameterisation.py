"""Samples of normal distributions as a function of their mean and log-variance (Kingma and Welling 2014).

The noise depends on a key, the sample's number and the element's alone: not on how samples are split.
"""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.random_bits import HALF, LANES, MASK, Bits, philox

Array = NDArray[np.floating]
Integers = NDArray[np.int64]

NOISE: Final = 1 << 63
"""Counter word of the noise: other draws with the same key use smaller ones."""


def noise_at(key: int, sample: Bits | Integers, element: Integers) -> NDArray[np.float64]:
    """Standard normal numbers of any elements of any samples: arrays of their numbers, of one shape.

    Box and Muller 1958: two of the four random numbers of a counter (Philox4x32-10) give two normal ones.
    """
    block = (element // LANES).astype(np.uint64) + np.uint64(NOISE)
    of_sample = sample.astype(np.uint64)
    numbers = philox((block & MASK, block >> HALF, of_sample & MASK, of_sample >> HALF), key)
    lane = element % LANES
    first, second = (np.where(lane < 2, numbers[place], numbers[place + 2]) for place in (0, 1))
    # inside (0, 1], so that the logarithm is finite
    radius = np.sqrt(-2 * np.log((first.astype(np.float64) + 1) * 2.0**-32))
    angle = second.astype(np.float64) * (2 * np.pi * 2.0**-32)
    noise: NDArray[np.float64] = radius * np.where(lane % 2, np.sin(angle), np.cos(angle))
    return noise


def normal_noise(key: int, first_sample: int, shape: tuple[int, ...], dtype: np.dtype[np.floating]) -> Array:
    """Standard normal numbers for samples (B, ...) from number ``first_sample`` on."""
    samples = np.uint64(first_sample) + np.arange(shape[0], dtype=np.uint64)
    sample, element = np.broadcast_arrays(samples[:, None], np.arange(prod(shape[1:])))
    return noise_at(key, sample, element).reshape(shape).astype(dtype)


def reparameterise_forward(mean: Array, log_variance: Array, noise: Array) -> tuple[Array, Array]:
    """``mean + noise·√variance``, and half of what it is away from the mean, which backward needs."""
    spread = np.multiply(log_variance, 0.5)
    np.exp(spread, out=spread)
    spread *= noise
    y = mean + spread
    spread *= 0.5
    return y, spread


def reparameterise_backward(spread: Array, grad: Array) -> tuple[Array, Array]:
    """The gradients by mean and log-variance."""
    return grad, grad * spread
