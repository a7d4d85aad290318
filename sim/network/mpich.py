"""Which algorithm MPICH takes for a message: the switches of the MPI library that TaihuLight's is derived from.

Limits of MPICH 3's collectives, as in the sketches of the published scaling of swCaffe.
"""

from __future__ import annotations

from typing import Final

SHORT_BROADCAST_BYTES: Final = 12 * 1024
"""Broadcasts below it, or of fewer than 8 ranks, go down a binomial tree."""
LONG_BROADCAST_BYTES: Final = 512 * 1024
"""From it on, and for other counts than powers of two, the parts go around a ring."""
LEAST_BROADCAST_RANKS: Final = 8
SHORT_ALLREDUCE_BYTES: Final = 2048
"""All-reduces up to it exchange whole messages."""


def broadcast_algorithm(*, ranks: int, size: int) -> str:
    """The broadcast of ``size`` bytes."""
    if size < SHORT_BROADCAST_BYTES or ranks < LEAST_BROADCAST_RANKS:
        return "binomial_tree"
    if size < LONG_BROADCAST_BYTES and ranks & (ranks - 1) == 0:
        return "scatter_doubling"
    return "scatter_ring"


def allreduce_algorithm(*, ranks: int, size: int) -> str:
    """The all-reduce of ``size`` bytes; halving joins far ranks first, as in SWCAFFE's model of standard ranks."""
    if size <= SHORT_ALLREDUCE_BYTES or ranks == 1:
        return "recursive_doubling"
    return "halving_doubling_far"
