"""Requests that wait for a node and are answered in batches.

A node that is free begins as soon as its largest batch is waiting, or once the oldest request has waited long enough,
and takes what is there by then. A network is prepared for a few sizes of batches; fewer requests than the next size are
filled up to it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class BatchServer:
    """A node: batches of ``sizes`` (ascending) take ``seconds`` each; ``max_wait_seconds`` for a batch to fill.

    Raises ValueError for sizes that do not rise, and where sizes and seconds are not as many.
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    max_wait_seconds: float = 0.0

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.seconds) or not self.sizes or list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError(f"sizes {self.sizes} have to rise, with a time each, not {self.seconds}")

    @property
    def largest(self) -> int:
        """Requests in the largest batch."""
        return self.sizes[-1]

    @property
    def requests_per_second(self) -> float:
        """What it answers when there are always enough requests."""
        return self.largest / self.seconds[-1]

    def batch_seconds(self, requests: int) -> float:
        """A batch of ``requests``, filled up to the next size."""
        return self.seconds[bisect_left(self.sizes, requests)]


@dataclass(frozen=True, kw_only=True)
class Answered:
    """When each request was answered (requests,), in seconds, and the requests of each batch (batches,)."""

    finish: Floats
    batches: Whole
    busy_seconds: float


def answer_all(server: BatchServer, arrivals: Floats) -> Answered:
    """What becomes of requests that arrive at ``arrivals`` (requests,), ascending, in seconds."""
    count, most, wait = len(arrivals), server.largest, server.max_wait_seconds
    times: list[float] = arrivals.tolist()
    free, first, busy = 0.0, 0, 0.0
    ends: list[float] = []
    sizes: list[int] = []
    while first < count:
        begin = times[first] + wait
        if first + most <= count:
            begin = min(begin, times[first + most - 1])
        begin = max(begin, free)
        size = 1
        while size < most and first + size < count and times[first + size] <= begin:
            size += 1
        seconds = server.batch_seconds(size)
        free = begin + seconds
        busy += seconds
        ends.append(free)
        sizes.append(size)
        first += size
    batches = np.array(sizes, dtype=np.int64)
    return Answered(finish=np.repeat(np.array(ends, dtype=np.float64), batches), batches=batches, busy_seconds=busy)
