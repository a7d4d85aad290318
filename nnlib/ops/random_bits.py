"""Philox4x32-10: random bits as a function of a counter and a key, without any state.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Whoever
knows a number's place computes its bits, in any order and on any core.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]

MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL: Final = (0x9E3779B9, 0xBB67AE85)
"""Golden ratio and √3 - 1: the key grows by them each round."""
ROUNDS: Final = 10
LANES: Final = 4
"""Numbers of 32 bits from one counter."""
MASK: Final = np.uint64(0xFFFFFFFF)
HALF: Final = np.uint64(32)


def philox(counter: tuple[Bits, Bits, Bits, Bits], key: int) -> tuple[Bits, Bits, Bits, Bits]:
    """Four random numbers below 2³² for each counter of four numbers below 2³², with the low 64 bits of ``key``."""
    low, high = key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF
    first, second, third, fourth = counter
    for number in range(ROUNDS):
        keys = [np.uint64((each + number * step) & 0xFFFFFFFF) for each, step in zip((low, high), WEYL, strict=True)]
        products = MULTIPLIERS[0] * first, MULTIPLIERS[1] * third
        first, second, third, fourth = (
            (products[1] >> HALF) ^ second ^ keys[0],
            products[1] & MASK,
            (products[0] >> HALF) ^ fourth ^ keys[1],
            products[0] & MASK,
        )
    return first, second, third, fourth
