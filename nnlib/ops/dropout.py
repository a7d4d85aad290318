"""Dropout whose mask depends on a key, the sample's number and the element's alone: not on how samples are split."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.random_bits import HALF, LANES, MASK, Bits, philox

Array = NDArray[np.floating]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

CHUNK: Final = 1 << 14
"""Counters hashed at a time: what stays in a host's cache."""


def keep_mask(key: int, first_sample: int, shape: Sequence[int], rate: float) -> Mask:
    """True with probability 1 - ``rate`` for each element of samples (B, ...) from number ``first_sample`` on.

    Element 4q + r of sample s is kept if number r of Philox4x32-10 at the counter (q, s) is at least rate · 2³².
    """
    samples, elements = shape[0], prod(shape[1:])
    blocks = -(-elements // LANES)
    kept = np.empty((samples * blocks, LANES), dtype=bool)
    for first in range(0, len(kept), CHUNK):
        sample, block = np.divmod(np.arange(first, min(first + CHUNK, len(kept))), max(blocks, 1))
        for lane, numbers in enumerate(_numbers(key, samples_from(first_sample, sample), block)):
            np.greater_equal(numbers, threshold(rate), out=kept[first : first + CHUNK, lane])
    return np.ascontiguousarray(kept.reshape(samples, -1)[:, :elements]).reshape(tuple(shape))


def keep_at(key: int, sample: Integers | Bits, element: Integers, rate: float) -> Mask:
    """The same for any elements of any samples: arrays of their numbers, of one shape."""
    lane = element % LANES
    numbers = _numbers(key, sample, element // LANES)
    return np.asarray(np.choose(lane, numbers) >= threshold(rate))


def samples_from(first: int, numbers: Integers) -> Bits:
    """The numbers of samples from number ``first`` on, below 2⁶⁴."""
    return np.uint64(first) + numbers.astype(np.uint64)


def threshold(rate: float) -> np.uint64:
    """Numbers below it are dropped. Raises ValueError unless ``rate`` lies from 0 to 1."""
    if not 0 <= rate <= 1:
        raise ValueError(f"a dropout rate of {rate} is not between 0 and 1")
    return np.uint64(round(rate * 2**32))


def dropout_scale(rate: float) -> float:
    """What kept numbers are multiplied by: the expectation stays as it was."""
    return 0.0 if rate == 1 else 1 / (1 - rate)


def dropout_forward(x: Array, mask: Mask, rate: float) -> Array:
    """``x`` / (1 - rate) where ``mask`` keeps it, else 0."""
    return np.multiply(x, mask, order="K") * x.dtype.type(dropout_scale(rate))


def dropout_backward(grad: Array, mask: Mask, rate: float) -> Array:
    """The same of the gradient."""
    return dropout_forward(grad, mask, rate)


def _numbers(key: int, sample: Integers | Bits, block: Integers) -> tuple[Bits, Bits, Bits, Bits]:
    wide = block.astype(np.uint64), sample.astype(np.uint64)
    counter = (wide[0] & MASK, wide[0] >> HALF, wide[1] & MASK, wide[1] >> HALF)
    return philox(counter, key)
