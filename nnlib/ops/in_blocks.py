"""Element-wise functions of several passes, in blocks that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

BLOCK_BYTES: Final = 1 << 17
"""Bytes of a block of an array: a few temporaries of this size fit the second-level cache."""


def in_blocks(function: Callable[..., Array], *arrays: Array, out: Array | None = None) -> Array:
    """``function`` of arrays of one shape, element by element, into ``out`` or an array that lies like the first.

    ``out`` may be one of the arrays. Arrays that lie differently in memory are taken whole.
    """
    found = np.empty_like(arrays[0]) if out is None else out
    size = BLOCK_BYTES // found.itemsize
    flat = None if found.size <= size else _flat([*arrays, found])
    if flat is None:
        found[...] = function(*arrays)
        return found
    *sources, target = flat
    for first in range(0, target.size, size):
        block = slice(first, first + size)
        target[block] = function(*(each[block] for each in sources))
    return found


def _flat(arrays: Sequence[Array]) -> list[Array] | None:
    """Views with one axis, elements in the order of memory; None if the arrays do not lie alike and dense."""
    axes = sorted(range(arrays[0].ndim), key=lambda axis: -arrays[0].strides[axis])
    ordered = [each.transpose(axes) for each in arrays]
    if not all(each.flags.c_contiguous for each in ordered):
        return None
    return [each.reshape(-1) for each in ordered]
