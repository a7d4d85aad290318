"""Random numbers by counter: the number of an element depends on its key and its place, not on who asks when.

Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): additions, rotations
and exclusive ors of 32-bit words only, which is what the CPEs' vectors can do.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

ROUNDS: Final = 20
PARITY: Final = 0x1BD11BDA
"""Makes the third word of the key schedule from the key's two."""
ROTATIONS: Final = ((13, 15, 26, 6), (17, 29, 16, 24))
TURNS: Final = tuple(
    tuple((np.array(turn, np.uint32), np.array(32 - turn, np.uint32)) for turn in turns) for turns in ROTATIONS
)
"""Shifts up and down that make a rotation, as arrays: operations take these at once."""
CACHED: Final = 1 << 13
"""Blocks made at a time: they stay in the host's cache."""
WORD: Final = 0xFFFFFFFF
KEY_NUMBERS: Final = 4
INSTRUCTIONS: Final = ROUNDS * 5 + ROUNDS // 4 * 3 + 2
"""Of a vector of counters' two vectors of words; a rotation is two shifts and an or."""


def threefry2x32(key: tuple[int, int], counter: tuple[Words, Words]) -> tuple[Words, Words]:
    """Two random words for each pair of counter words. Key words are below 2^32."""
    schedule = [np.uint32(word) for word in (*key, PARITY ^ key[0] ^ key[1])]
    left, right = counter[0] + schedule[0], counter[1] + schedule[1]
    turned = np.empty_like(right)
    for number in range(ROUNDS // 4):
        for up, down in TURNS[number % 2]:
            left += right
            np.left_shift(right, up, out=turned)
            np.right_shift(right, down, out=right)
            right |= turned
            right ^= left
        left += schedule[(number + 1) % 3]
        right += schedule[(number + 2) % 3]
        right += np.uint32(number + 1)
    return left, right


def uniform(key: int, *, first: int, count: int) -> NDArray[np.float64]:
    """Numbers of the places ``first`` to ``first + count`` under a 64-bit key: (2 w + 1) / 2^33, inside (0, 1)."""
    begin, end = first // 2, -(-(first + count) // 2)
    found = np.empty((end - begin, 2))
    for start in range(begin, end, CACHED):
        stop = min(start + CACHED, end)
        blocks = np.arange(start, stop, dtype=np.uint64)
        low, high = (blocks & np.uint64(WORD)).astype(np.uint32), (blocks >> np.uint64(32)).astype(np.uint32)
        part = found[start - begin : stop - begin]
        part[:, 0], part[:, 1] = threefry2x32((key & WORD, key >> 32 & WORD), (low, high))
    found += 0.5
    found *= 2.0**-32
    skipped = first - 2 * begin
    return found.reshape(-1)[skipped : skipped + count]


def key_numbers(key: int) -> list[float]:
    """A 64-bit key as ``KEY_NUMBERS`` pieces of 16 bits, lowest first: numbers that every precision holds exactly."""
    return [float(key >> shift & 0xFFFF) for shift in range(0, 16 * KEY_NUMBERS, 16)]


def key_from(numbers: NDArray[np.floating]) -> int:
    """The key of :func:`key_numbers`."""
    return sum(int(number) << 16 * place for place, number in enumerate(numbers))
