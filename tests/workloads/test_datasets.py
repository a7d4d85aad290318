"""Datasets and the sample stream."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.graph import INPUT
from sim.problems import BadInput
from workloads.datasets.archive import load_archive
from workloads.datasets.dataset import IMAGE, LABEL, Field, Labelled, Labels, Part, split
from workloads.datasets.digits import load_digits
from workloads.datasets.load import load_dataset
from workloads.datasets.stores import ImageStore, shifted
from workloads.datasets.stream import BLOCK_SAMPLES, Samples, SampleStream
from workloads.datasets.values import Images
from workloads.load import load_workload


def labelled(count: int, *, height: int = 4, width: int = 5, classes: int = 3) -> Labelled:
    rng = np.random.default_rng(count)
    return Labelled(images=rng.standard_normal((count, height, width, 2)), labels=rng.integers(classes, size=count))


def part(samples: Labelled, max_shift: int = 0, *, mirror: bool = False) -> Part:
    return Part(store=ImageStore(samples=samples, max_shift=max_shift, mirror=mirror))


def images_of(stream: SampleStream, ids: Labels) -> Images:
    images: Images = stream.batch(ids).inputs[INPUT]
    return images


def naive_shift(image: Images, *, down: int, right: int) -> Images:
    result = np.zeros_like(image)
    height, width = image.shape[:2]
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                result[y, x] = image[y - down, x - right]
    return result


def test_the_digits_are_split_in_proportion_and_scaled() -> None:
    dataset = load_dataset(load_workload("digits"))
    train, test = dataset.train.whole(), dataset.test.whole()
    images, labels = train.inputs[INPUT], test.targets[LABEL]
    assert images.shape == (1437, 8, 8, 1)
    assert test.inputs[INPUT].shape == (360, 8, 8, 1)
    assert dataset.fields == {IMAGE: Field((8, 8, 1)), LABEL: Field((), 10)}
    assert images.dtype == np.float64
    assert (images.min(), images.max()) == (0.0, 1.0)
    whole = np.bincount(load_digits().labels)
    assert np.abs(np.bincount(labels) - whole * 360 / 1797).max() <= 1
    assert np.bincount(train.targets[LABEL]).sum() == 1437
    assert dataset.stored.bytes_per_sample == 8 * 64


def test_a_split_uses_every_sample_once_and_follows_its_seed() -> None:
    labels = np.repeat([0, 1, 2, 3], 25)
    train, test = split(labels, train_size=80, test_size=20, seed=1)
    assert sorted([*train, *test]) == list(range(100))
    assert list(np.bincount(labels[test])) == [5, 5, 5, 5]
    np.testing.assert_array_equal(test, split(labels, train_size=80, test_size=20, seed=1)[1])
    assert not np.array_equal(test, split(labels, train_size=80, test_size=20, seed=2)[1])


@given(sizes=st.tuples(st.integers(1, 30), st.integers(0, 30)), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_a_split_has_the_sizes_asked_for(sizes: tuple[int, int], seed: int) -> None:
    train, test = split(labelled(60).labels, train_size=sizes[0], test_size=sizes[1], seed=seed)
    assert (len(train), len(test)) == sizes


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("sklearn"):
            raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ModuleNotFoundError, match=r"taihusim\[data\]"):
        load_digits()


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        (["data.split.train=1500"], "at most 1797"),
        (["model.input=[8, 8, 3]"], r"\[8, 8, 1\]"),
        (["model.layers.9.units=9"], "at least 10 outputs"),
    ],
)
def test_a_workload_that_does_not_fit_its_data(settings_: list[str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        load_dataset(load_workload("digits", settings_))


class TestArchive:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
        np.savez(tmp_path / "a.npz", images=images, labels=np.array([1, 0], dtype=np.uint8))
        samples = load_archive(tmp_path / "a.npz")
        assert samples.images.dtype == np.float64
        assert samples.images.shape == (2, 3, 4, 1)
        np.testing.assert_array_equal(samples.images[..., 0], images)
        assert list(samples.labels) == [1, 0]

    @pytest.mark.parametrize(
        ("arrays", "key", "words"),
        [
            ({"images": np.zeros((2, 3, 3))}, "labels", "this array (there are: images)"),
            ({"images": np.zeros((2, 3)), "labels": np.zeros(2, int)}, "images", "shape (2, 3)"),
            ({"images": np.zeros((2, 3, 3), complex), "labels": np.zeros(2, int)}, "images", "complex128"),
            ({"images": np.full((2, 3, 3), np.nan), "labels": np.zeros(2, int)}, "images", "finite"),
            ({"images": np.zeros((2, 3, 3)), "labels": np.zeros(2)}, "labels", "float64"),
            ({"images": np.zeros((2, 3, 3)), "labels": np.zeros(3, int)}, "labels", "as many labels as images (2)"),
            ({"images": np.zeros((2, 3, 3)), "labels": np.array([0, -1])}, "labels", "from 0 on"),
        ],
    )
    def test_wrong_arrays(self, tmp_path: Path, arrays: dict[str, Any], key: str, words: str) -> None:
        path = tmp_path / "a.npz"
        np.savez(path, **arrays)
        with pytest.raises(BadInput) as caught:
            load_archive(path)
        (problem,) = caught.value.problems
        assert (problem.file, problem.key) == (str(path), key)
        assert words in str(problem)

    def test_both_arrays_wrong_are_told_together(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", images=np.zeros(3), labels=np.zeros(3))
        with pytest.raises(BadInput) as caught:
            load_archive(tmp_path / "a.npz")
        assert [problem.key for problem in caught.value.problems] == ["images", "labels"]

    def test_missing_and_damaged_files(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="a file that exists"):
            load_archive(tmp_path / "none.npz")
        path = tmp_path / "a.npz"
        np.savez(path, images=np.random.default_rng(0).random((50, 8, 8)), labels=np.zeros(50, int))
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(BadInput, match=r"a whole \.npz file"):
            load_archive(path)
        path.write_bytes(whole[:5000] + bytes(64) + whole[5064:])
        with pytest.raises(BadInput, match="images: expected an array of numbers that can be read whole"):
            load_archive(path)
        np.save(tmp_path / "single.npy", np.zeros(3))
        path.write_bytes((tmp_path / "single.npy").read_bytes())
        with pytest.raises(BadInput, match="not a single array"):
            load_archive(path)
        path.write_bytes(b"")
        with pytest.raises(BadInput, match=r"a whole \.npz file"):
            load_archive(path)


class TestStream:
    @given(
        chunks=st.lists(st.integers(0, 60), max_size=12),
        images=st.integers(1, 20),
        max_shift=st.integers(0, 2),
        seed=st.integers(0, 3),
    )
    @settings(max_examples=60, deadline=None)
    def test_chunks_make_no_difference(self, chunks: list[int], images: int, max_shift: int, seed: int) -> None:
        train = labelled(images)
        stream = SampleStream(part(train, max_shift), seed)
        parts = [stream.next(count).ids for count in chunks]
        whole = SampleStream(part(train, max_shift), seed).next(sum(chunks)).ids
        np.testing.assert_array_equal(np.concatenate([*parts, whole[:0]]), whole)

    def test_chunks_make_no_difference_across_blocks(self) -> None:
        train = labelled(1000)
        stream = SampleStream(part(train, 1), 5)
        parts = np.concatenate([stream.next(7777).ids for _ in range(20)])
        assert len(parts) > 2 * BLOCK_SAMPLES
        np.testing.assert_array_equal(parts, SampleStream(part(train, 1), 5).next(len(parts)).ids)

    def test_every_epoch_shows_every_image_once_in_another_order(self) -> None:
        stream = SampleStream(part(labelled(50), 1), 0)
        epochs = stream.next(50 * 2000).ids.reshape(2000, 50)
        assert (np.sort(epochs // 9, axis=1) == np.arange(50)).all()
        assert len(np.unique(epochs, axis=0)) == 2000
        counts = np.bincount(epochs.ravel() % 9)
        assert np.abs(counts / (50 * 2000 / 9) - 1).max() < 0.05

    def test_the_seed_decides(self) -> None:
        train = labelled(50)
        first = SampleStream(part(train, 1), 0).next(500).ids
        np.testing.assert_array_equal(first, SampleStream(part(train, 1), 0).next(500).ids)
        assert not np.array_equal(first, SampleStream(part(train, 1), 1).next(500).ids)

    @given(st.lists(st.integers(0, 40) | st.just(2**40), max_size=60))
    @settings(max_examples=40, deadline=None)
    def test_multiplicities_add_up(self, ids: list[int]) -> None:
        found, multiplicities = Samples(np.array(ids, dtype=np.int64)).distinct()
        assert {int(i): int(m) for i, m in zip(found, multiplicities, strict=True)} == {i: ids.count(i) for i in ids}
        assert list(found) == sorted(set(ids))

    @pytest.mark.parametrize("max_shift", [0, 1, 2])
    def test_images_are_shifted_exactly(self, max_shift: int) -> None:
        train = labelled(6)
        stream = SampleStream(part(train, max_shift), 0)
        ids = np.arange(stream.distinct_samples)[::-1].copy()
        images, labels = images_of(stream, ids), stream.batch(ids).targets[LABEL]
        width = 2 * max_shift + 1
        for number, image, label in zip(ids, images, labels, strict=True):
            source, shift = divmod(int(number), width * width)
            down, right = shift // width - max_shift, shift % width - max_shift
            np.testing.assert_array_equal(image, naive_shift(train.images[source], down=down, right=right))
            assert label == train.labels[source]

    def test_a_shift_larger_than_the_image_leaves_nothing(self) -> None:
        image = np.ones((1, 2, 2, 1))
        assert not shifted(image, np.array([0]), max_shift=3).any()

    def test_images_are_the_same_without_the_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        train = labelled(6)
        ids = np.array([53, 0, 17, 17, 4])
        expected = images_of(SampleStream(part(train, 1), 0), ids)
        monkeypatch.setattr("workloads.datasets.stores.LARGEST_TABLE_BYTES", 0)
        np.testing.assert_array_equal(images_of(SampleStream(part(train, 1), 0), ids), expected)

    def test_every_other_image_is_mirrored(self) -> None:
        train = labelled(6)
        stream = SampleStream(part(train, 1, mirror=True), 0)
        assert stream.distinct_samples == 6 * 18
        plain, mirrored = (images_of(stream, 18 * 3 + 9 * side + np.arange(9)) for side in (0, 1))
        np.testing.assert_array_equal(plain[:, :, ::-1], mirrored)
        np.testing.assert_array_equal(plain, images_of(SampleStream(part(train, 1), 0), 9 * 3 + np.arange(9)))

    @pytest.mark.parametrize("drawn", [0, 13, 7 * 9362, 7 * 9362 + 3])
    def test_a_stream_goes_on_from_its_state(self, drawn: int) -> None:
        train = part(labelled(7), 1)
        stream = SampleStream(train, 3)
        stream.next(drawn)
        resumed = SampleStream.from_state(train, stream.state())
        np.testing.assert_array_equal(resumed.next(40).ids, stream.next(40).ids)

    def test_a_state_of_other_samples_is_refused(self) -> None:
        state = SampleStream(part(labelled(7), 1), 3).state()
        with pytest.raises(ValueError, match="7 samples"):
            SampleStream.from_state(part(labelled(8), 1), state)
        with pytest.raises(ValueError, match="9 variants"):
            SampleStream.from_state(part(labelled(7)), state)
