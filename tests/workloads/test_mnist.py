"""IDX files: read whole, or refused in words that name the file."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sim.problems import BadInput
from workloads.datasets.mnist import load_mnist, read_idx
from workloads.datasets.storage import stored_pixels

Array = npt.NDArray[Any]
NAMES = {
    "train-images-idx3-ubyte": (12, 5, 4),
    "train-labels-idx1-ubyte": (12,),
    "t10k-images-idx3-ubyte": (6, 5, 4),
    "t10k-labels-idx1-ubyte": (6,),
}


def idx(array: Array) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder: Path, *, packed: bool = False) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in NAMES.items():
        arrays[name] = rng.integers(10 if len(shape) == 1 else 256, size=shape, dtype=np.uint8)
        data = idx(arrays[name])
        (folder / f"{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(data, mtime=0) if packed else data)
    return arrays


@pytest.mark.parametrize("packed", [False, True])
def test_images_and_labels_come_as_written(tmp_path: Path, packed: bool) -> None:
    arrays = write(tmp_path, packed=packed)
    parts = load_mnist(tmp_path)
    np.testing.assert_array_equal(parts.train.images[..., 0], arrays["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(parts.test.labels, arrays["t10k-labels-idx1-ubyte"])
    assert parts.train.images.shape == (12, 5, 4, 1)
    assert parts.test.labels.dtype == np.int64
    assert parts.train.storage_bytes == sum(file.stat().st_size for file in tmp_path.glob("train*"))
    stored = stored_pixels(parts.train)
    assert (stored.files, stored.packed) == (2, packed)
    if not packed:
        assert stored.bytes_per_sample == pytest.approx(5 * 4 + 1 + (16 + 8) / 12)


def test_names_with_a_dot_are_found_too(tmp_path: Path) -> None:
    write(tmp_path)
    for file in list(tmp_path.iterdir()):
        file.rename(file.with_name(file.name.replace("-idx", ".idx")))
    assert len(load_mnist(tmp_path).test) == 6


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
        (tmp_path / name).unlink()
    with pytest.raises(BadInput) as caught:
        load_mnist(tmp_path)
    assert len(caught.value.problems) == 2
    assert "train-labels-idx1-ubyte" in str(caught.value)
    assert "t10k-images-idx3-ubyte" in str(caught.value)
    with pytest.raises(BadInput, match=r"nowhere: expected a folder that exists"):
        load_mnist(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "first the bytes 00 00 08 03, found 'an empty file'"),
        (b"\x89PNG....", "first the bytes 00 00 08 03"),
        (bytes([0, 0, 0x0D, 3]) + b"\0" * 12, "unsigned bytes .type 08. with 3 axes, found 'type 0d with 3 axes'"),
        (bytes([0, 0, 8, 1]) + b"\0" * 12, "found 'type 08 with 1 axes'"),
        (bytes([0, 0, 8, 3]) + b"\0" * 5, "a header of 16 bytes, found '9 bytes in all'"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 0, 4), "no axis of length 0"),
        (idx(np.zeros((2, 3, 4), np.uint8))[:-1], "40 bytes, as its header says .shape .2, 3, 4.., found '39 bytes'"),
        (idx(np.zeros((2, 3, 4), np.uint8)) + b"x", "found '41 bytes'"),
        (gzip.compress(idx(np.zeros((2, 3, 4), np.uint8)), mtime=0)[:-9], "a whole gzip file"),
    ],
)
def test_a_damaged_file_is_refused_in_words(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "images").write_bytes(data)
    with pytest.raises(BadInput, match=message) as caught:
        read_idx(tmp_path / "images", axes=3)
    assert str(tmp_path / "images") in str(caught.value)


def test_labels_have_to_fit_the_images_and_the_classes(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(11, np.uint8)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(6, 10, np.uint8)))
    with pytest.raises(BadInput) as caught:
        load_mnist(tmp_path)
    assert "as many labels as train images (12), found 11" in str(caught.value)
    assert "labels from 0 to 9, found 10" in str(caught.value)
    write(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((6, 4, 5), np.uint8)))
    with pytest.raises(BadInput, match="test images of 5 × 4 pixels"):
        load_mnist(tmp_path)
