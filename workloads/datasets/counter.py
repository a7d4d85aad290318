"""Random numbers by place: number i of a sample is the same whichever samples are drawn with it.

A generator with a state gives what a sample gets only after all that came before; here the seed, a name, the sample's
number and i are mixed into 64 bits. The mixing is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, OOPSLA 2014), which passes BigCrush: a chain of its finaliser starts each sample's sequence.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
BLOCK = 2**16
"""Numbers drawn at a time."""


@dataclass(frozen=True, kw_only=True)
class Counter:
    """Numbers for the samples of a generator: each ``name`` is a sequence of its own for every sample."""

    seed: int

    def uniform(self, name: str, samples: Integers, *shape: int) -> Floats:
        """Numbers in [0, 1), (n, *shape) for samples (n,)."""
        count = math.prod(shape)
        result = np.empty((len(samples), count))
        for block in _blocks(len(samples), count):
            result[block] = _unit(self._words(name, samples[block], count))
        return result.reshape(len(samples), *shape)

    def normal(self, name: str, samples: Integers, *shape: int) -> Floats:
        """Standard normal numbers, (n, *shape) for samples (n,), two from each two uniform ones (Box and Muller)."""
        count = math.prod(shape)
        pairs = (count + 1) // 2
        result = np.empty((len(samples), 2 * pairs))
        for block in _blocks(len(samples), count):
            unit = _unit(self._words(name, samples[block], 2 * pairs))
            radius, angle = unit[:, :pairs], unit[:, pairs:]
            np.sqrt(-2.0 * np.log1p(-radius), out=radius)
            angle *= 2.0 * math.pi
            np.multiply(radius, np.cos(angle), out=result[block, :pairs])
            np.multiply(radius, np.sin(angle), out=result[block, pairs:])
        return result[:, :count].reshape(len(samples), *shape)

    def integers(self, name: str, samples: Integers, *shape: int, least: int = 0, below: int) -> Integers:
        """Whole numbers from ``least`` to ``below`` - 1, all as likely, (n, *shape) for samples (n,)."""
        return least + (self.uniform(name, samples, *shape) * (below - least)).astype(np.int64)

    def _words(self, name: str, samples: Integers, count: int) -> _Words:
        own = _mixed(np.array([self.seed % 2**64], dtype=np.uint64)) ^ np.uint64(zlib.crc32(name.encode()))
        numbers = _mixed(np.asarray(samples).astype(np.uint64) + GOLDEN)
        starts = _mixed(_mixed(own) ^ numbers)
        return _mixed(starts[:, np.newaxis] + GOLDEN * np.arange(1, count + 1, dtype=np.uint64))


def _blocks(samples: int, count: int) -> Iterator[slice]:
    """Some samples at a time, so that their numbers stay in the cache."""
    size = max(1, BLOCK // max(1, count))
    return (slice(first, first + size) for first in range(0, samples, size))


def _mixed(words: _Words) -> _Words:
    """The finaliser of SplitMix64, in place."""
    words ^= words >> np.uint64(30)
    words *= FIRST
    words ^= words >> np.uint64(27)
    words *= SECOND
    words ^= words >> np.uint64(31)
    return words


def _unit(words: _Words) -> Floats:
    """Numbers in [0, 1) from the upper 53 bits."""
    words >>= np.uint64(11)
    numbers = words.astype(np.float64)
    numbers *= 2.0**-53
    return numbers
