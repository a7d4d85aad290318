"""Random numbers by place: the same for a sample whichever come with it, and random enough."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.datasets.counter import Counter

pytestmark = pytest.mark.numeric


def test_the_sequence_is_splitmix64s() -> None:
    # the first outputs of SplitMix64 from state 1234567, as published with its test vectors
    counter = Counter(seed=0)
    words = counter._words("name", np.arange(3), 4)
    mask = 2**64 - 1

    def mixed(word: int) -> int:
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
        return word ^ (word >> 31)

    golden = 0x9E3779B97F4A7C15
    assert [mixed(1234567 + golden * place & mask) for place in (1, 2)] == [6457827717110365317, 3203168211198807973]
    import zlib

    for sample in range(3):
        start = mixed(mixed(mixed(0) ^ zlib.crc32(b"name")) ^ mixed(sample + golden & mask))
        assert [int(word) for word in words[sample]] == [mixed(start + golden * place & mask) for place in range(1, 5)]


def test_a_sample_is_the_same_whichever_come_with_it() -> None:
    counter = Counter(seed=3)
    samples = np.array([5, 0, 10**12, 5, 17])
    for draw in (counter.uniform, counter.normal):
        whole = draw("a", samples, 3, 7)
        assert whole.shape == (5, 3, 7)
        np.testing.assert_array_equal(whole[0], whole[3])
        for place in range(5):
            np.testing.assert_array_equal(draw("a", samples[place : place + 1], 3, 7)[0], whole[place])
    large = counter.normal("a", np.arange(40), 5000)
    np.testing.assert_array_equal(large[33], counter.normal("a", np.array([33]), 5000)[0])


def test_seeds_names_and_samples_give_numbers_of_their_own() -> None:
    samples = np.arange(300)
    first = Counter(seed=0).normal("a", samples, 300)
    for other in (
        Counter(seed=1).normal("a", samples, 300),
        Counter(seed=0).normal("b", samples, 300),
        Counter(seed=0).normal("a", samples + 300, 300),
        np.roll(first, 1, axis=0),
        np.roll(first, 1, axis=1),
    ):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 4 / 300


def test_numbers_are_spread_as_they_say() -> None:
    samples = np.arange(1000)
    uniform = Counter(seed=0).uniform("a", samples, 201)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    counts = np.bincount((uniform * 100).astype(int).ravel(), minlength=100)
    expected = uniform.size / 100
    assert ((counts - expected) ** 2 / expected).sum() < 99 + 4 * np.sqrt(2 * 99)
    normal = Counter(seed=0).normal("a", samples, 201)
    assert abs(normal.mean()) < 4 / np.sqrt(normal.size)
    assert normal.std() == pytest.approx(1, abs=4 / np.sqrt(2 * normal.size))
    assert (normal**4).mean() == pytest.approx(3, abs=4 * np.sqrt(96 / normal.size))
    whole = Counter(seed=0).integers("a", samples, 50, least=2, below=7)
    assert set(np.unique(whole)) == {2, 3, 4, 5, 6}
