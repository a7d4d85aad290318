"""CIFAR-10: both versions of its files; a pickle that asks for more than data is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sim.problems import BadInput
from workloads.datasets.cifar10 import RECORD, load_cifar10, read_binary, read_pickled
from workloads.datasets.pickled import UnsafePickle, load_plain

NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
Array = npt.NDArray[Any]


def content(name: str, *, count: int = 3) -> tuple[Array, list[int]]:
    rng = np.random.default_rng(NAMES.index(name))
    return rng.integers(256, size=(count, 3072), dtype=np.uint8), [int(each) for each in rng.integers(10, size=count)]


def write_binary(folder: Path) -> None:
    for name in NAMES:
        data, labels = content(name)
        records = np.concatenate([np.array(labels, np.uint8)[:, np.newaxis], data], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def write_pickled(folder: Path, *, protocol: int = 2) -> None:
    for name in NAMES:
        data, labels = content(name)
        mapping = {b"batch_label": b"a batch", b"labels": labels, b"data": data, b"filenames": [b"a.png"] * 3}
        (folder / name).write_bytes(pickle.dumps(mapping, protocol=protocol))


def check(folder: Path) -> None:
    parts = load_cifar10(folder)
    data, labels = content("data_batch_2")
    assert parts.train.images.shape == (15, 32, 32, 3)
    assert parts.test.images.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(parts.train.labels[3:6], labels)
    np.testing.assert_array_equal(parts.train.images[4, 7, 9], data[1].reshape(3, 32, 32)[:, 7, 9])
    assert parts.class_names[3] == "cat"


def test_the_binary_version_comes_as_written(tmp_path: Path) -> None:
    write_binary(tmp_path)
    check(tmp_path)
    assert load_cifar10(tmp_path).train.storage_bytes == 15 * RECORD


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_the_python_version_comes_as_written(tmp_path: Path, protocol: int) -> None:
    write_pickled(tmp_path, protocol=protocol)
    check(tmp_path)


def test_a_pickle_of_python_2_is_read_too(tmp_path: Path) -> None:
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05"
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    head = b"\x80\x02}q\x01(U\x04dataq\x02" + array + b"(K\x01K\x01M\x00\x0c\x86" + kind + b"\x89"
    pixels = bytes(range(256)) * 12
    text = b"T" + len(pixels).to_bytes(4, "little") + pixels
    (tmp_path / "batch").write_bytes(head + text + b"tbU\x06labels]K\x07au.")
    data, labels = read_pickled(tmp_path / "batch")
    assert data.tobytes() == pixels
    assert list(labels) == [7]


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    write_pickled(tmp_path)
    (tmp_path / "data_batch_3").write_bytes(pickle.dumps({b"data": Attack(tmp_path / "harm")}))
    with pytest.raises(BadInput, match=r"data_batch_3: expected .* nothing that runs code.*posix.mkdir"):
        load_cifar10(tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("value", [np.array([{}, None]), np.array(["text"]), np.zeros(2, "M8[s]"), {1, 2}.__len__])
def test_arrays_of_anything_but_numbers_are_refused(value: Any) -> None:
    with pytest.raises(UnsafePickle):
        load_plain(pickle.dumps({"data": value}, protocol=2))


def test_what_one_pickle_sets_another_does_not_see() -> None:
    name = b"c_codecs\nencode\n"
    defaults = b"N}" + b"X\x0c\0\0\0__defaults__" + b"X\x06\0\0\0rot-13\x85" + b"s\x86b"
    assert load_plain(b"\x80\x02" + name + defaults + b"0N.") is None
    assert load_plain(b"\x80\x02" + name + b"X\x01\0\0\0a\x85R.") == b"a"
    with pytest.raises(UnsafePickle, match=r"_codecs\.encode"):
        load_plain(b"\x80\x02" + name + defaults + b"X\x01\0\0\0a\x85R.")


@pytest.mark.parametrize("kind", [">i4", "<f8", "?", ">u2"])
def test_arrays_keep_type_order_and_values(kind: str) -> None:
    array = np.asfortranarray(np.arange(12).reshape(3, 4).astype(kind))
    for protocol in (2, 5):
        found = load_plain(pickle.dumps([array, (1, None, "é")], protocol=protocol))
        np.testing.assert_array_equal(found[0], array)
        assert found[0].dtype == array.dtype
        assert found[1] == (1, None, "é")


def test_damaged_files_are_all_named(tmp_path: Path) -> None:
    write_binary(tmp_path)
    file = tmp_path / "data_batch_1.bin"
    file.write_bytes(file.read_bytes()[:-1])
    (tmp_path / "data_batch_5.bin").write_bytes(b"")
    (tmp_path / "test_batch.bin").unlink()
    with pytest.raises(BadInput) as caught:
        load_cifar10(tmp_path)
    assert len(caught.value.problems) == 3
    assert f"whole records of {RECORD} bytes, at least one, found '9218 bytes'" in str(caught.value)
    assert f"{tmp_path / 'test_batch.bin'}: expected a file that exists" in str(caught.value)
    with pytest.raises(BadInput, match="data_batch_1: expected a file that exists"):
        load_cifar10(tmp_path.parent / tmp_path.name / "..")


def test_labels_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(BadInput, match="labels from 0 to 9, found 10"):
        read_binary(tmp_path / "a.bin")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "a pickled mapping, found 'list'"),
        ({"labels": [1]}, "data: expected bytes of shape .images, 3072., found 'none of that name'"),
        ({"data": np.zeros((2, 3072)), "labels": [1, 2]}, "found 'float64 of shape .2, 3072.'"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "labels: expected a list of 2 whole numbers"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [-1]}, "labels from 0 to 9, found -1"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [2**70]}, "labels from 0 to 9"),
    ],
)
def test_a_pickle_of_something_else_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    (tmp_path / "batch").write_bytes(pickle.dumps(value, protocol=2))
    with pytest.raises(BadInput, match=message):
        read_pickled(tmp_path / "batch")


def test_a_pickle_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [1]}, protocol=2)
    for length in (0, 1, 10, 40, 90, 120, 1000, len(whole) - 1):
        (tmp_path / "batch").write_bytes(whole[:length])
        with pytest.raises(BadInput, match="not one cut off or damaged"):
            read_pickled(tmp_path / "batch")
