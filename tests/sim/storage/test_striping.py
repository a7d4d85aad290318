"""Where the bytes of a file lie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.storage.striping import ONE_ARRAY, Striping

SWCAFFE = Striping(stripes=32, stripe_bytes=256_000_000)


def test_pieces_in_numbers() -> None:
    striping = Striping(stripes=3, stripe_bytes=10)
    assert striping.pieces(0, 5) == ((0, 5),)
    assert striping.pieces(8, 25) == ((0, 2), (1, 10), (2, 10), (0, 3))
    assert striping.pieces(30, 10) == ((0, 10),)
    assert striping.pieces(7, 0) == ()
    assert ONE_ARRAY.pieces(10**15, 7) == ((0, 7),)


@pytest.mark.parametrize("processes", [32, 100, 1024, 40_960])
@pytest.mark.parametrize("size", [24_000_000, 192_000_000])
def test_a_batch_of_swcaffe_touches_two_arrays_at_most_and_an_array_has_few_readers(processes: int, size: int) -> None:
    """Up to 192 MB in stripes of 256 MB over 32 arrays; at most N/32 * 2 per array (swCaffe, section V.B)."""
    reads = SWCAFFE.apart_reads(processes=processes, size=size)
    each = -(-processes // 32)
    assert sum(reads.values()) == each
    assert max(len(pieces) for pieces in reads) <= 2
    assert sum(count * len(pieces) for pieces, count in reads.items()) <= each * 2


@given(
    stripes=st.integers(1, 7),
    stripe=st.integers(1, 30),
    processes=st.integers(1, 60),
    size=st.integers(0, 90),
)
def test_equal_readers_are_counted_together(stripes: int, stripe: int, processes: int, size: int) -> None:
    """As many as if each process were looked at, and each byte of the file lies where it should."""
    striping = Striping(stripes=stripes, stripe_bytes=stripe)
    reads = striping.shared_reads(processes=processes, size=size)
    one_by_one = [striping.pieces(number * size, size) for number in range(processes)]
    assert reads == {pieces: one_by_one.count(pieces) for pieces in one_by_one}
    held = [0] * stripes
    for array, length in striping.pieces(0, processes * size):
        held[array] += length
    assert striping.busiest_bytes(processes * size) == max(held)
    place = 0
    for array, length in striping.pieces(3, size):
        assert {(3 + place) // stripe % stripes, (3 + place + length - 1) // stripe % stripes} == {array}
        place += length
    assert place == size


def test_impossible_stripes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Striping(stripes=0, stripe_bytes=5)
