"""Work on large arrays shared out to the host's processors: NumPy lets other threads run while it multiplies or copies.

Only where the matrix products themselves go on one processor: two kinds of threads would wait for one another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar

from nnlib.ops.processors import allowed_processors

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Item = TypeVar("Item")

BLAS_VARIABLES: Final = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""What says how many processors a matrix product takes; the first that is set counts."""


@cache
def worker_count() -> int:
    """How many threads share work: the processors (``OMP_NUM_THREADS`` if set) over those that a product takes."""
    processors = _number("OMP_NUM_THREADS") or allowed_processors()
    product = next((number for number in map(_number, BLAS_VARIABLES) if number), processors)
    return max(1, processors // product)


def share(items: Sequence[Item], work: Callable[[Iterator[Item]], None], *, alone: bool = False) -> None:
    """Let several threads ``work`` on what they draw from ``items``, each until none is left; ``alone``: only this one.

    What an item's result is must not depend on who works on it, nor when.
    """
    drawn = iter(items)
    count = 1 if alone else min(worker_count(), len(items))
    # a copy of the context each: how NumPy treats overflows belongs to it
    futures = [_pool(os.getpid()).submit(copy_context().run, work, drawn) for _ in range(count - 1)]
    try:
        work(drawn)
    finally:
        # one that has not begun finds nothing left; waiting for it could block threads that share work in turn
        begun = [future for future in futures if not future.cancel()]
        for future in begun:
            future.exception()
    for future in begun:
        future.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of a process; a forked one has none of its parent's."""
    from concurrent.futures import ThreadPoolExecutor  # it takes long to load

    return ThreadPoolExecutor(worker_count(), thread_name_prefix=f"nnlib-{process}")


def _number(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() and int(text) > 0 else None
