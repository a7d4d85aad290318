"""Large matrix products, shared out to the host's processors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.threads import share

Array = NDArray[np.floating]

SMALL_FLOPS: Final = 1 << 25
"""A product of fewer operations is done before other threads have woken up."""
BLOCKS: Final = 4
"""Into so many blocks the longer side of a product is divided, however many threads there are."""


def product(a: Array, b: Array) -> Array:
    """``a·b`` of two matrices; the numbers do not depend on how many threads there are."""
    rows, columns = len(a), b.shape[1]
    if 2 * rows * columns * a.shape[1] < SMALL_FLOPS:
        small: Array = a @ b
        return small
    out = np.empty((rows, columns), dtype=np.result_type(a, b))
    by_rows = rows >= columns
    length = max(rows, columns)
    size = -(-length // BLOCKS)

    def work(drawn: Iterator[slice]) -> None:
        for block in drawn:
            if by_rows:
                np.matmul(a[block], b, out=out[block])
            else:
                np.matmul(a, b[:, block], out=out[:, block])

    share([slice(first, first + size) for first in range(0, length, size)], work)
    return out
