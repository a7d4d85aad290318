"""Quantities with units: what parses to what, what is refused and how, and that printing loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.machine.quantity import (
    BANDWIDTH,
    CYCLES,
    DIMENSIONS,
    DURATION,
    FREQUENCY,
    POWER,
    SIZE,
    TIME_PER_BYTE,
    Dimension,
    Quantity,
    Whole,
)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("64 KiB", SIZE, 65536),
        ("64KiB", SIZE, 65536),
        (" 64  KB ", SIZE, 64000),
        ("64 kB", SIZE, 64000),
        ("8 GiB", SIZE, 2**33),
        ("34.1 GB/s", BANDWIDTH, 34.1e9),
        ("1 MiB/s", BANDWIDTH, 2**20),
        ("1.45 GHz", FREQUENCY, 1.45e9),
        ("4.75 ns", DURATION, 4.75e-9),
        ("1e-3 ms", DURATION, 1e-6),
        ("22 µs", DURATION, 22e-6),
        ("1 cycle", CYCLES, 1),
        ("15.9 cycles", CYCLES, 15.9),
        ("15.371 MW", POWER, 15.371e6),
        ("0.286 ns/B", TIME_PER_BYTE, 0.286e-9),
    ],
)
def test_text_parses_to_base_units(text: str, dimension: Dimension, value: float) -> None:
    assert Quantity(dimension=dimension).parse(text) == value


@pytest.mark.parametrize(
    ("written", "detail"),
    [
        (34.1, "the unit is missing"),
        ("34.1", "the unit is missing"),
        ("34.1 GHz", "'GHz' belongs to a frequency"),
        ("34.1 Gb/s", "'Gb/s' is not one of"),
        ("-34.1 GB/s", "above zero"),
        ("0 GB/s", "above zero"),
        ("nan GB/s", "a plain number and a unit"),
        ("inf GB/s", "a plain number and a unit"),
        ("1e999 GB/s", "within the range"),
        ("1e-999 GB/s", "within the range"),
        ("1,000 GB/s", "a plain number and a unit"),
        ("", "a plain number and a unit"),
        (True, ""),
        (None, ""),
        ([], ""),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(written: object, detail: str) -> None:
    with pytest.raises(ValueError, match=r"a bandwidth such as '34\.1 GB/s'") as caught:
        Quantity(dimension=BANDWIDTH).parse(written)
    assert detail in str(caught.value)


def test_zero_only_where_allowed() -> None:
    assert Quantity(dimension=DURATION, zero=True).parse("0 us") == 0
    with pytest.raises(ValueError, match="above zero"):
        Quantity(dimension=DURATION).parse("0 us")
    with pytest.raises(ValueError, match="zero or more"):
        Quantity(dimension=DURATION, zero=True).parse("-1 us")


@pytest.mark.parametrize("text", ["0.5 B", "1.0001 KB", "1e300 B"])
def test_bytes_are_whole(text: str) -> None:
    with pytest.raises(ValueError, match="a whole number of B"):
        Quantity(dimension=SIZE, whole=True).parse(text)


@given(st.sampled_from(DIMENSIONS), st.floats(min_value=1e-15, max_value=1e18))
def test_printing_and_parsing_gives_the_same_float(dimension: Dimension, value: float) -> None:
    quantity = Quantity(dimension=dimension)
    assert quantity.parse(quantity.format(value)) == value


@given(st.integers(min_value=0, max_value=2**50), st.integers(min_value=0, max_value=3))
def test_printing_and_parsing_gives_the_same_bytes(count: int, power: int) -> None:
    quantity = Quantity(dimension=SIZE, whole=True, zero=True)
    assert quantity.parse(quantity.format(count * 1024**power % 2**60)) == count * 1024**power % 2**60


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (65536, SIZE, "64 KiB"),
        (4096, SIZE, "4 KiB"),
        (128, SIZE, "128 B"),
        (4.75e-9, DURATION, "4.75 ns"),
        (0.0, DURATION, "0 s"),
        (2.5e-13, DURATION, "0.00025 ns"),
        (34.1e9, BANDWIDTH, "34.1 GB/s"),
        (1, CYCLES, "1 cycle"),
        (2.86e-10, TIME_PER_BYTE, "0.286 ns/B"),
    ],
)
def test_printed_in_the_unit_people_use(value: float, dimension: Dimension, text: str) -> None:
    assert Quantity(dimension=dimension, whole=dimension is SIZE, zero=True).format(value) == text


def test_rounded_for_people() -> None:
    assert Quantity(dimension=POWER).round(15_360_000.0) == "15.36 MW"
    assert Quantity(dimension=BANDWIDTH).round(26.947e9, digits=3) == "26.9 GB/s"


@pytest.mark.parametrize("written", [0, -1, 1.0, "8", True, None, 2**63])
def test_counts_are_whole_numbers_without_unit(written: object) -> None:
    assert Whole().parse(8) == 8
    with pytest.raises(ValueError, match="a whole number of at least 1, without a unit"):
        Whole().parse(written)


def test_sizes_are_printed_as_the_smallest_whole_number() -> None:
    size = Quantity(dimension=SIZE, whole=True)
    written = ["20000 TB", "256 MB", "64 KiB", "8 GiB", "128 B", "1.5 MB"]
    assert [size.format(size.parse(text)) for text in written] == written


def test_hours_are_printed_where_they_are_whole() -> None:
    duration = Quantity(dimension=DURATION)
    assert [duration.format(value) for value in (3600.0, 7200.0, 5400.0, 788_400_000.0)] == [
        "1 h",
        "2 h",
        "5400 s",
        "219000 h",
    ]
