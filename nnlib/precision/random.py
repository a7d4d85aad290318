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
WORD: Final = 0xFFFFFFFF
KEY_NUMBERS: Final = 4
INSTRUCTIONS: Final = ROUNDS * 5 + ROUNDS // 4 * 3 + 2
"""Of a vector of counters' two vectors of words; a rotation is two shifts and an or."""


def threefry2x32(key: tuple[int, int], counter: tuple[Words, Words]) -> tuple[Words, Words]:
    """Two random words for each pair of counter words. Key words are below 2^32."""
    schedule = [np.uint32(word) for word in (*key, PARITY ^ key[0] ^ key[1])]
    left, right = counter[0] + schedule[0], counter[1] + schedule[1]
    for number in range(ROUNDS // 4):
        for turn in ROTATIONS[number % 2]:
            left += right
            right = right << np.uint32(turn) | right >> np.uint32(32 - turn)
            right ^= left
        left += schedule[(number + 1) % 3]
        right += schedule[(number + 2) % 3]
        right += np.uint32(number + 1)
    return left, right


def uniform(key: int, *, first: int, count: int) -> NDArray[np.float64]:
    """Numbers of the places ``first`` to ``first + count`` under a 64-bit key: (2 w + 1) / 2^33, inside (0, 1)."""
    begin, end = first // 2, -(-(first + count) // 2)
    blocks = np.arange(begin, end, dtype=np.uint64)
    low, high = (blocks & np.uint64(WORD)).astype(np.uint32), (blocks >> np.uint64(32)).astype(np.uint32)
    words = np.stack(threefry2x32((key & WORD, key >> 32 & WORD), (low, high)), axis=1).reshape(-1)
    skipped = first - 2 * begin
    return (words[skipped : skipped + count].astype(np.float64) + 0.5) * 2.0**-32


def key_numbers(key: int) -> list[float]:
    """A 64-bit key as ``KEY_NUMBERS`` pieces of 16 bits, lowest first: numbers that every precision holds exactly."""
    return [float(key >> shift & 0xFFFF) for shift in range(0, 16 * KEY_NUMBERS, 16)]


def key_from(numbers: NDArray[np.floating]) -> int:
    """The key of :func:`key_numbers`."""
    return sum(int(number) << 16 * place for place, number in enumerate(numbers))
