"""Gliding tones: what is written in a recording is what sounds in it, and a frame alone does not show it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from workloads.datasets.baselines import fit_softmax
from workloads.datasets.metrics import collapsed, label_error_rate
from workloads.datasets.tones import Tones

pytestmark = pytest.mark.numeric


def test_labels_are_the_tones_that_sound_in_order() -> None:
    tones = Tones()
    found = tones.generate(np.arange(200))
    assert found.frames.shape == (200, tones.time, tones.bins)
    for row in range(200):
        runs = [
            (label, len(list(each)))
            for label, each in itertools.groupby(found.alignment[row, : found.lengths[row]])
            if label
        ]
        wanted = [label for label, _ in itertools.groupby(found.labels[row, : found.counts[row]])]
        heard = [label for label, _ in itertools.groupby(label for label, _ in runs)]
        assert heard == wanted  # up to repeats, between which there may be no gap
        assert all(count >= tones.shortest for _, count in runs)
        assert not found.labels[row, found.counts[row] :].any()
        assert not found.frames[row, found.lengths[row] :].any()
        assert not found.alignment[row, found.lengths[row] :].any()
    assert set(np.unique(found.labels)) == set(range(tones.classes))
    assert found.counts.min() == tones.fewest
    assert found.counts.max() == tones.most
    assert (found.lengths <= tones.time).all()


def test_tones_glide_up_or_down_at_their_register() -> None:
    tones = Tones(noise=0.0, registers=2, longest_gap=2)
    found = tones.generate(np.arange(50))
    pitch = found.frames.argmax(axis=2)
    for row in range(50):
        place = 0
        for label, each in itertools.groupby(found.alignment[row, : found.lengths[row]]):
            count = len(list(each))
            if label:
                start, end = pitch[row, place], pitch[row, place + tones.shortest - 1]
                register, falling = divmod(int(label) - 1, 2)
                assert start == 1 + 3 * register + 5 * falling
                assert (end < start) == bool(falling)
                assert found.frames[row, place].max() == pytest.approx(1.0)
            else:
                assert not found.frames[row, place : place + count].any()
            place += count


def test_recordings_follow_seed_and_number_alone() -> None:
    tones = Tones(seed=2)
    found = tones.generate(np.array([4, 10**9, 4]))
    alone = tones.generate(np.array([10**9]))
    for name in ("frames", "lengths", "labels", "counts", "alignment"):
        both = getattr(found, name)
        np.testing.assert_array_equal(both[0], both[2])
        np.testing.assert_array_equal(both[1], getattr(alone, name)[0])
    assert not np.array_equal(Tones(seed=3).generate(np.array([4])).frames, found.frames[:1])


@pytest.mark.slow
def test_a_linear_classifier_of_frames_gets_a_third_of_the_labels_wrong_and_more() -> None:
    tones = Tones()
    train, test = tones.generate(np.arange(400)), tones.generate(np.arange(1000, 1300))
    inside = np.arange(tones.time) < train.lengths[:, np.newaxis]
    linear = fit_softmax(train.frames[inside], train.alignment[inside], classes=tones.classes)
    labels, counts = collapsed(linear.classes(test.frames), test.lengths)
    assert label_error_rate(labels, counts, test.labels, test.counts) >= 0.30
    # not for the noise: the register is heard, only the direction is not
    inside = np.arange(tones.time) < test.lengths[:, np.newaxis]
    tone = inside & (test.alignment > 0)
    found = linear.classes(test.frames)[tone]
    right = found == test.alignment[tone]
    assert 0.2 < right.mean() < 0.5
    perfect, counts = collapsed(test.alignment, test.lengths)
    assert label_error_rate(perfect, counts, test.labels, test.counts) < 0.03


def test_empty_ranges_are_refused() -> None:
    for wrong in ({"fewest": 0}, {"fewest": 7}, {"shortest": 1}, {"longest": 3}, {"longest_gap": -1}):
        with pytest.raises(ValueError, match="no range that ends"):
            Tones(**wrong)
    with pytest.raises(ValueError, match="register"):
        Tones(registers=0)
