"""Numbers as people read them."""

from __future__ import annotations

import pytest

from workloads.words import (
    energy_in_words,
    nodes_in_words,
    number_in_words,
    rate_in_words,
    seconds_in_words,
    size_in_words,
)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.0, "0 ns"),
        (1.234e-9, "1.23 ns"),
        (999.6e-9, "1 us"),
        (0.9999, "1 s"),
        (0.001234, "1.23 ms"),
        (59.96, "60 s"),
        (1800.4, "1,800 s"),
        (3600.0, "1 h"),
        (1e7, "2,778 h"),
    ],
)
def test_seconds(seconds: float | None, words: str) -> None:
    assert seconds_in_words(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (999, "999 B"), (999_600, "1 MB"), (437_200, "437 KB"), (25e6, "25 MB"), (1.31e15, "1,310 TB")],
)
def test_sizes(size: float, words: str) -> None:
    assert size_in_words(size) == words


@pytest.mark.parametrize(
    ("joules", "words"),
    [
        (0.5, "0.5 J"),
        (2500.0, "2.5 kJ"),
        (1.37e6, "1.37 MJ"),
        (3.6e6, "1 kWh"),
        (1.829e11, "50.8 MWh"),
        (3.6e15, "1,000 GWh"),
    ],
)
def test_energies(joules: float, words: str) -> None:
    assert energy_in_words(joules) == words


@pytest.mark.parametrize(
    ("rate", "words"),
    [(5e8, "0.5 GFLOPS"), (9.999e11, "1 TFLOPS"), (88.13e15, "88.1 PFLOPS"), (1.5e18, "1,500 PFLOPS")],
)
def test_rates(rate: float, words: str) -> None:
    assert rate_in_words(rate) == words


def test_nodes() -> None:
    assert (nodes_in_words(1), nodes_in_words(40_960)) == ("1 node", "40,960 nodes")


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0524999, "0.0525"), (95.3, "95.3"), (2672.9, "2,673"), (28_823.4, "28,823"), (1.18e9, "1,180,000,000")],
)
def test_numbers(value: float, words: str) -> None:
    assert number_in_words(value) == words
