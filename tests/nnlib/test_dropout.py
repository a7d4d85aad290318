"""Random bits by counter against published vectors, and dropout's masks: rate, independence, any split of samples."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from nnlib.ops.dropout import dropout_backward, dropout_forward, keep_at, keep_mask
from nnlib.ops.random_bits import philox

KNOWN = [  # Random123 1.14, tests/kat_vectors: philox4x32 10
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_numbers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    first, second, third, fourth = (np.array([each], dtype=np.uint64) for each in counter)
    found = philox((first, second, third, fourth), key[0] | key[1] << 32)
    assert tuple(int(each[0]) for each in found) == expected


@pytest.mark.numeric
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_rate_is_met(rate: float) -> None:
    kept = keep_mask(7, 0, (40, 5001), rate)
    deviation = sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) <= 4 * deviation
    assert np.all(np.abs(kept.mean(axis=0) - (1 - rate)) <= 6 * sqrt(rate * (1 - rate) / len(kept)))


@pytest.mark.numeric
def test_masks_of_different_keys_samples_and_elements_are_independent() -> None:
    one, other = keep_mask(1, 0, (64, 4096), 0.5), keep_mask(1 << 40 | 1, 0, (64, 4096), 0.5)
    limit = 4 / sqrt(one.size)
    signs, others = 2.0 * one - 1, 2.0 * other - 1
    assert abs(np.mean(signs * others)) <= limit
    for shift in (1, 2, 3, 4, 7):
        assert abs(np.mean(signs[:, shift:] * signs[:, :-shift])) <= 1.1 * limit, "elements"
        assert abs(np.mean(signs[shift:] * signs[:-shift])) <= 1.1 * limit, "samples"


def test_the_mask_does_not_depend_on_how_samples_are_split() -> None:
    whole = keep_mask(3, 10, (9, 5, 7), 0.3)
    parts = [keep_mask(3, 10 + first, (size, 5, 7), 0.3) for first, size in ((0, 1), (1, 5), (6, 3))]
    assert np.array_equal(whole, np.concatenate(parts))
    assert not np.array_equal(whole[0], whole[1])
    sample, element = np.divmod(np.arange(9 * 35), 35)
    assert np.array_equal(keep_at(3, sample + 10, element, 0.3), whole.reshape(-1))


def test_samples_beyond_32_bits_and_long_samples() -> None:
    far = keep_mask(3, 1 << 33, (1, 64), 0.5)
    assert not np.array_equal(far, keep_mask(3, 0, (1, 64), 0.5))
    long = keep_mask(3, 0, (2, 100_003), 0.5)
    assert np.array_equal(long[:, :64], keep_mask(3, 0, (2, 64), 0.5))


def test_kept_numbers_grow_and_dropped_ones_vanish() -> None:
    x = np.array([[1.0, 2.0, 3.0, 4.0]], dtype=np.float32)
    mask = np.array([[True, False, True, False]])
    for function in (dropout_forward, dropout_backward):
        found = function(x, mask, 0.75)
        assert found.dtype == np.float32
        assert found.tolist() == [[4.0, 0.0, 12.0, 0.0]]
        assert function(x, mask, 1.0).tolist() == [[0.0] * 4]


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_beyond_one_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=str(rate)):
        keep_mask(0, 0, (1, 1), rate)
