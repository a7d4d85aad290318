"""Moving storms: what their pixels show, what they do not, and where they are next."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.datasets.baselines import fit_softmax
from workloads.datasets.counter import Counter, Floats, Integers
from workloads.datasets.metrics import intersection_over_union, mean_iou
from workloads.datasets.storms import CHANNELS, CYCLONE, CYCLONES, RIVER, Storms
from workloads.datasets.weather import Background, offsets

pytestmark = pytest.mark.numeric


def curl(fields: Floats) -> Floats:
    """The turning of the wind of the first two channels, positive to the left, rows counting northwards."""
    u, v = fields[..., 0], fields[..., 1]
    eastwards = np.roll(v, -1, axis=2) - np.roll(v, 1, axis=2)
    northwards = np.roll(u, -1, axis=1) - np.roll(u, 1, axis=1)
    return (eastwards - northwards) / 2


def middles_of(mask: Integers) -> tuple[float, float]:
    """The middle of the pixels of the mask on the ring, by the mean of their angles."""
    return tuple(  # type: ignore[return-value]
        float(np.angle(np.exp(2j * np.pi * places / size).mean()) * size / (2 * np.pi) % size)
        for places, size in zip(np.nonzero(mask), mask.shape, strict=True)
    )


def test_fields_follow_seed_and_number_alone() -> None:
    storms = Storms(height=32, width=24, spacing=24, rivers=True, seed=1)
    found = storms.generate(np.array([6, 3, 10**8, 6]))
    assert found.fields.shape == (4, 32, 24, 16)
    assert found.mask.dtype == np.int64
    np.testing.assert_array_equal(found.fields[0], found.fields[3])
    for row, number in enumerate((6, 3, 10**8)):
        alone = storms.generate(np.array([number]))
        np.testing.assert_array_equal(found.fields[row], alone.fields[0])
        np.testing.assert_array_equal(found.mask[row], alone.mask[0])
    other = Storms(height=32, width=24, spacing=24, rivers=True, seed=2).generate(np.array([6]))
    assert not np.array_equal(other.fields[0], found.fields[0])


def test_the_wind_turns_to_the_left_in_cyclones_only() -> None:
    storms = Storms(channels=4, strength=8.0)
    found = storms.generate(np.arange(0, 160, 4))
    turning = curl(found.fields)
    low = found.fields[..., 2] < -5.0
    cyclone = found.mask == CYCLONE
    assert turning[cyclone & low].mean() > 1
    assert turning[~cyclone & low].mean() < 0
    assert (turning[cyclone & low] > 0).mean() > 0.95


@pytest.mark.slow
def test_a_pixel_of_a_cyclone_looks_like_one_of_another_system() -> None:
    storms = Storms(strength=8.0, channels=4)
    found = storms.generate(np.arange(0, 800, 4))
    low = found.fields[..., 2] < -3.5
    cyclone, other = found.fields[low & (found.mask == CYCLONE)], found.fields[low & (found.mask == 0)]
    assert len(cyclone) / (len(cyclone) + len(other)) == pytest.approx(CYCLONES, abs=0.05)
    np.testing.assert_allclose(cyclone.mean(axis=0), other.mean(axis=0), atol=0.3)
    speeds = [np.quantile(np.hypot(each[:, 0], each[:, 1]), (0.1, 0.5, 0.9)) for each in (cyclone, other)]
    np.testing.assert_allclose(speeds[0], speeds[1], rtol=0.05)


def test_storms_move_from_frame_to_frame_and_belong_to_their_sequence() -> None:
    storms = Storms(height=24, width=24, spacing=24, frames=5, channels=4)
    found = storms.generate(np.arange(200))
    moved = []
    for first in range(0, 200, 5):
        masks = found.mask[first : first + 5]
        if not masks.any():
            continue
        places = np.array([middles_of(mask) for mask in masks])
        steps = (np.diff(places, axis=0) + 12) % 24 - 12
        assert np.abs(steps - steps.mean(axis=0)).max() < 0.6  # the pace is even, to within pixels
        moved.append(steps.mean(axis=0))
    assert 8 <= len(moved) <= 28
    assert np.mean(moved, axis=0) == pytest.approx([0.0, 1.0], abs=0.25)
    assert np.std(moved, axis=0).min() > 0.15


def test_the_background_drifts_and_its_winds_have_no_source() -> None:
    background = Background(height=40, width=36, channels=5, grain=0.0)
    counter = Counter(seed=0)
    fields = background.generate(counter, np.zeros(2, dtype=np.int64), np.arange(2))
    spectra = np.fft.fft2(fields, axes=(1, 2))
    np.testing.assert_allclose(np.abs(spectra[0]), np.abs(spectra[1]), atol=1e-9 * np.abs(spectra).max())
    assert not np.allclose(fields[0], fields[1])
    np.testing.assert_allclose(fields.mean(axis=(1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(fields[..., :2].std(axis=(1, 2)), 1, rtol=1e-12)
    np.testing.assert_allclose(fields.std(axis=(1, 2)), 1, atol=0.25)
    north, east = (2 * np.pi * np.fft.fftfreq(size) for size in (40, 36))
    wind = np.fft.fft2(fields[0, ..., :2], axes=(0, 1))
    some = (np.abs(wind[..., 1]) > 1e-6) & (north[:, np.newaxis] != 0)
    stream = 1j * wind[..., 0][some] / np.broadcast_to(north[:, np.newaxis], (40, 36))[some]
    ratio = 1j * np.broadcast_to(east, (40, 36))[some] * stream / wind[..., 1][some]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)  # one stream function gives both, up to their scales


@pytest.mark.slow
def test_rivers_carry_moisture_along_and_others_do_not_count() -> None:
    storms = Storms(rivers=True, strength=8.0, channels=4)
    found = storms.generate(np.arange(0, 800, 4))
    river = found.mask == RIVER
    moist = found.fields[..., CHANNELS.index("tmq")] > 6
    assert 0.35 < river[moist].mean() < 0.65
    assert moist[river].mean() > 0.3
    assert np.hypot(found.fields[..., 0], found.fields[..., 1])[river].mean() > 4
    assert storms.classes == 3


@pytest.mark.slow
def test_the_wind_blows_along_rivers() -> None:
    storms = Storms(rivers=True, strength=8.0, channels=4)
    found = storms.generate(np.arange(0, 400, 4))
    lengthwise = []
    for fields, mask in zip(found.fields, found.mask, strict=True):
        rows, columns = np.nonzero(mask == RIVER)
        if len(rows) < 40 or np.ptp(rows) > 40 or np.ptp(columns) > 40:
            continue  # none, or one that the edges cut in two
        along = np.linalg.eigh(np.cov(columns, rows))[1][:, -1]
        wind = fields[rows, columns, :2].mean(axis=0)
        lengthwise.append(abs(wind @ along) / np.hypot(*wind))
    assert len(lengthwise) >= 5
    assert np.median(lengthwise) > 0.95


def test_offsets_go_the_shorter_way_around() -> None:
    north, east = offsets(np.array([[0.0, 9.5]]), height=8, width=10)
    assert north[0, :, 3].tolist() == [0, 1, 2, 3, -4, -3, -2, -1]
    assert east[0, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, -4.5, -3.5, -2.5, -1.5, -0.5]


def test_what_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="one spacing long"):
        Storms(height=20)
    with pytest.raises(ValueError, match="4 to 16 channels"):
        Storms(channels=17)
    with pytest.raises(ValueError, match="one frame"):
        Storms(frames=0)


@pytest.mark.slow
@pytest.mark.parametrize("rivers", [False, True])
def test_a_linear_classifier_of_pixels_does_not_find_the_storms(rivers: bool) -> None:
    storms = Storms(rivers=rivers)
    train, test = storms.generate(np.arange(0, 320)), storms.generate(np.arange(10_000, 10_160))
    linear = fit_softmax(train.fields.reshape(-1, 16)[::7], train.mask.reshape(-1)[::7], classes=storms.classes)
    scores = linear.scores(test.fields)
    assert mean_iou(scores.argmax(axis=-1), test.mask, classes=storms.classes) <= 0.5
    for bonus in np.linspace(0, 4, 9):  # however willing it is to say storm
        found = (scores + bonus * (np.arange(storms.classes) == CYCLONE)).argmax(axis=-1)
        assert intersection_over_union(found, test.mask, classes=storms.classes)[CYCLONE] < 0.3
