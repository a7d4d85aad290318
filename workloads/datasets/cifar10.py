"""CIFAR-10: the binary version, and the Python version read without running what a pickle may ask for.

A record of the binary version is one byte of label and 3,072 of pixels: 32 × 32 of red, then of green, then of blue,
row by row. A file of the Python version is a pickled mapping with ``data`` (n, 3072) and ``labels``.
Source: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.problems import BadInput, Problem
from workloads.datasets.pickled import UnsafePickle, load_plain
from workloads.datasets.pixels import PixelParts, Pixels
from workloads.datasets.reading import bad_file, read_whole, require_folder

SIDE, CHANNELS = 32, 3
PIXELS = CHANNELS * SIDE * SIDE
RECORD = 1 + PIXELS
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = ("test_batch",)
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Bytes = npt.NDArray[np.uint8]


def load_cifar10(folder: Path) -> PixelParts:
    """The images (n, 32, 32, 3) and labels of the six files in ``folder``, ``.bin`` or pickled.

    Raises BadInput with the problems of all files: missing, cut off, damaged, asking for more than arrays and lists of
    numbers, or with labels outside 0 to 9.
    """
    require_folder(folder)
    binary = any((folder / f"{name}.bin").is_file() for name in (*TRAIN, *TEST))
    suffix = ".bin" if binary else ""
    train, train_problems = _load_part(folder, [f"{name}{suffix}" for name in TRAIN], binary=binary)
    test, test_problems = _load_part(folder, [f"{name}{suffix}" for name in TEST], binary=binary)
    if train is None or test is None:
        raise BadInput([*train_problems, *test_problems])
    return PixelParts(train=train, test=test, class_names=CLASS_NAMES)


def read_binary(path: Path) -> tuple[Bytes, Bytes]:
    """Pixels (n, 3072) and labels (n,) of a file of the binary version. Raises BadInput."""
    data = read_whole(path)
    if not data or len(data) % RECORD:
        expected = f"whole records of {RECORD} bytes, at least one"
        raise BadInput([bad_file(path, expected, value=f"{len(data)} bytes")])
    records = np.frombuffer(data, dtype=np.uint8).reshape(-1, RECORD)
    return records[:, 1:], _checked(path, records[:, 0])


def read_pickled(path: Path) -> tuple[Bytes, Bytes]:
    """Pixels (n, 3072) and labels (n,) of a file of the Python version. Raises BadInput."""
    try:
        content = load_plain(read_whole(path))
    except UnsafePickle as error:
        expected = "a pickled mapping of arrays and lists of numbers, nothing that runs code"
        raise BadInput([bad_file(path, expected, value=str(error))]) from error
    except ValueError as error:
        raise BadInput([bad_file(path, "a whole pickled mapping, not one cut off or damaged")]) from error
    if not isinstance(content, dict):
        raise BadInput([bad_file(path, "a pickled mapping", value=type(content).__name__)])
    named = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in content.items()}
    data, labels = named.get("data"), named.get("labels")
    problems = []
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == PIXELS):
        problems.append(bad_file(path, f"bytes of shape (images, {PIXELS})", key="data", value=_described(data)))
    elif not (isinstance(labels, list) and len(labels) == len(data) > 0 and all(type(each) is int for each in labels)):
        expected = f"a list of {len(data)} whole numbers, one for each image"
        problems.append(bad_file(path, expected, key="labels", value=_described(labels)))
    if problems or data is None:
        raise BadInput(problems)
    return data, _checked(path, np.array(labels))


def _load_part(folder: Path, names: list[str], *, binary: bool) -> tuple[Pixels | None, list[Problem]]:
    pixels, labels, size = [], [], 0
    problems: list[Problem] = []
    for name in names:
        try:
            found = read_binary(folder / name) if binary else read_pickled(folder / name)
        except BadInput as error:
            problems.extend(error.problems)
            continue
        pixels.append(found[0])
        labels.append(found[1])
        size += (folder / name).stat().st_size
    if problems:
        return None, problems
    planes = np.concatenate(pixels).reshape(-1, CHANNELS, SIDE, SIDE)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    numbers = np.concatenate(labels).astype(np.int64)
    return Pixels(images=images, labels=numbers, storage_bytes=size, files=len(names)), []


def _checked(path: Path, labels: npt.NDArray[Any]) -> Bytes:
    wrong = labels[(labels < 0) | (labels >= len(CLASS_NAMES))]
    if len(wrong):
        raise BadInput([bad_file(path, f"labels from 0 to {len(CLASS_NAMES) - 1}", value=int(wrong[0]))])
    return labels.astype(np.uint8)


def _described(value: object) -> str:
    if value is None:
        return "none of that name"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"a list of {len(value)}" if isinstance(value, list) else type(value).__name__
