"""Fair sharing of arrays by arithmetic: in numbers, and equal to one SimPy process per reader, exactly."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.storage import reference
from sim.storage.sharing import Readers, finish_seconds
from sim.storage.striping import Striping


def finished(*readers: Readers, array: int = 100, process: int = 60, latency: int = 0) -> list[float]:
    return finish_seconds(readers, array_rate=float(array), process_rate=float(process), latency=float(latency))


def test_in_numbers() -> None:
    one = Readers(pieces=((0, 120),))
    assert finished(one) == [2.0]  # one process takes 60 B/s, not 100
    assert finished(one, one) == [2.4, 2.4]  # 50 each
    assert finished(Readers(pieces=((0, 120),), count=2)) == [2.4]
    assert finished(one, Readers(pieces=((1, 120),))) == [2.0, 2.0]  # another array
    assert finished(one, Readers(pieces=((0, 50),))) == [pytest.approx(1 + 70 / 60), 1.0]  # then alone
    assert finished(one, Readers(pieces=((0, 120),), start=1)) == [pytest.approx(2.2), pytest.approx(3.2)]
    assert finished(Readers(pieces=((0, 60), (1, 120))), latency=1) == [1 + 1 + 1 + 2]
    assert finished(Readers(pieces=(), start=7)) == [7]


READERS = st.builds(
    Readers,
    pieces=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 50)), max_size=4).map(tuple),
    count=st.integers(1, 3),
    start=st.integers(0, 5).map(Fraction),
)


@pytest.mark.timing
@settings(max_examples=50)
@given(
    readers=st.lists(READERS, min_size=1, max_size=6),
    array=st.integers(1, 40),
    process=st.integers(1, 40),
    latency=st.integers(0, 3),
)
def test_equal_to_a_process_for_each_reader(readers: list[Readers], array: int, process: int, latency: int) -> None:
    """In fractions, without rounding: every process of a group ends when the group does."""
    rates = {"array_rate": Fraction(array), "process_rate": Fraction(process), "latency": Fraction(latency)}
    slow = reference.finish_seconds(readers, **rates)
    fast = finish_seconds(readers, **rates)
    assert slow == [[end] * reader.count for end, reader in zip(fast, readers, strict=True)]


@pytest.mark.timing
@given(
    stripes=st.integers(1, 5),
    stripe=st.integers(4, 40),
    begins=st.integers(1, 4),
    size=st.integers(1, 100),
    rate=st.integers(1, 9),
)
def test_one_array_stands_for_all_where_all_have_the_same_to_do(
    stripes: int, stripe: int, begins: int, size: int, rate: int
) -> None:
    """Processes that begin evenly spread over all stripes, one by one, and those of one array alone: exactly alike."""
    rates = {"array_rate": Fraction(7), "process_rate": Fraction(rate), "latency": Fraction(1, 3)}
    striping = Striping(stripes=stripes, stripe_bytes=stripe)
    starts = [number * stripe // begins for number in range(begins)]
    everyone = [Readers(pieces=striping.pieces(array * stripe + at, size)) for at in starts for array in range(stripes)]
    reads = striping.apart_reads(processes=stripes * begins, size=size)
    alone = finish_seconds([Readers(pieces=each, count=count) for each, count in reads.items()], **rates)
    assert set(finish_seconds(everyone, **rates)) == set(alone)


@given(readers=st.lists(READERS, min_size=1, max_size=6))
def test_nothing_is_faster_than_its_array_or_its_process(readers: list[Readers]) -> None:
    ends = finish_seconds(readers, array_rate=10.0, process_rate=4.0, latency=0.5)
    for end, reader in zip(ends, readers, strict=True):
        alone = sum(size for _, size in reader.pieces) / 4 + 0.5 * len(reader.pieces)
        assert float(end - reader.start) >= alone - 1e-9
    for array in range(3):
        moved = sum(reader.count * size for reader in readers for name, size in reader.pieces if name == array)
        if moved:
            begin = min(reader.start for reader in readers if any(name == array for name, _ in reader.pieces))
            assert float(max(ends) - begin) >= moved / 10 - 1e-9
