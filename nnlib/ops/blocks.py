"""Passes over large arrays in blocks that stay in a core's cache, shared out among the host's cores.

NumPy lets other threads run while it computes. Blocks depend on shapes alone, and whoever adds up what they give does
so in their order: the number of threads changes no number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from nnlib.ops.processors import allowed_processors

Block = TypeVar("Block")

BLOCK_BYTES: Final = 1 << 19
"""What stays in a core's cache beside what is computed from it."""
THREADED_BYTES: Final = 1 << 23
"""Smaller arrays are done before threads would have begun."""
MOST_THREADS: Final = 4
"""More of them than the memory can feed do not help."""


def row_blocks(rows: int, row_bytes: int, *, least: int = 1) -> list[slice]:
    """Slices of rows that fit a core's cache, of at least ``least`` rows where there are as many."""
    size = max(least, BLOCK_BYTES // max(row_bytes, 1))
    return [slice(first, min(first + size, rows)) for first in range(0, rows, size)]


def over_blocks(work: Callable[[int, Block], object], blocks: Sequence[Block], *, nbytes: int) -> None:
    """Call ``work(number, block)`` for each of the blocks of an array of ``nbytes``, on several threads if it pays."""
    threads = min(MOST_THREADS, allowed_processors(), len(blocks))
    if threads < 2 or nbytes < THREADED_BYTES:
        for number, block in enumerate(blocks):
            work(number, block)
        return

    from concurrent.futures import ThreadPoolExecutor  # it takes long to load

    def share(thread: int) -> None:
        for number in range(thread, len(blocks), threads):
            work(number, blocks[number])

    with ThreadPoolExecutor(threads) as pool:
        for each in [pool.submit(share, thread) for thread in range(threads)]:
            each.result()
