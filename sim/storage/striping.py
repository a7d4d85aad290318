"""How a file lies on disk arrays: stripes of equal size, one array after another, round and round."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import gcd
from typing import TypeAlias

Pieces: TypeAlias = tuple[tuple[int, int], ...]
"""Array and bytes of each piece of a contiguous part of a file, in order."""


@dataclass(frozen=True, kw_only=True)
class Striping:
    """A file on ``stripes`` arrays in stripes of ``stripe_bytes``. Raises ValueError unless both are above zero."""

    stripes: int
    stripe_bytes: int

    def __post_init__(self) -> None:
        if self.stripes < 1 or self.stripe_bytes < 1:
            raise ValueError("a file has at least one stripe, of at least one byte")

    @property
    def round_bytes(self) -> int:
        """Bytes after which the arrays come again."""
        return self.stripes * self.stripe_bytes

    def pieces(self, offset: int, size: int) -> Pieces:
        """What a read of ``size`` bytes from ``offset`` on takes from which array."""
        found = []
        end = offset + size
        while offset < end:
            inside = min(end, (offset // self.stripe_bytes + 1) * self.stripe_bytes) - offset
            found.append((offset // self.stripe_bytes % self.stripes, inside))
            offset += inside
        return tuple(found)

    def period(self, size: int) -> int:
        """After how many processes that read ``size`` bytes each, one behind another, the same places come again."""
        return self.round_bytes // gcd(size, self.round_bytes) if size else 1

    def shared_reads(self, *, processes: int, size: int) -> Counter[Pieces]:
        """How often which pieces are read when ``processes`` processes read ``size`` bytes each, one behind another."""
        period = self.period(size)
        found: Counter[Pieces] = Counter()
        for number in range(min(period, processes)):
            found[self.pieces(number * size % self.round_bytes, size)] += (processes - 1 - number) // period + 1
        return found

    def apart_reads(self, *, processes: int, size: int) -> Counter[Pieces]:
        """What is read where each process has a part of the file of its own and all parts begin evenly spread.

        On each array as many begin, at equal distances in a stripe. So all arrays have the same to do at the same time,
        and the next array of a process is as good as its first: one array, number 0, stands for all.
        """
        begins = -(-processes // self.stripes)
        one = Striping(stripes=1, stripe_bytes=self.stripe_bytes)
        return Counter(one.pieces(number * self.stripe_bytes // begins, size) for number in range(begins))

    def busiest_bytes(self, total: int) -> int:
        """What the array that has most holds of the first ``total`` bytes of a file."""
        rounds, rest = divmod(total, self.round_bytes)
        return rounds * self.stripe_bytes + min(rest, self.stripe_bytes)


ONE_ARRAY = Striping(stripes=1, stripe_bytes=2**62)
"""A file as it lies when nobody asks for stripes."""
