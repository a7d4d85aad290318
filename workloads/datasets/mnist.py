"""MNIST and its relatives (Fashion-MNIST, KMNIST): IDX files, plain or packed by gzip.

An IDX file is two zero bytes, one for the type of its numbers, one for how many axes it has, the length of each axis in
four bytes (big-endian), and the numbers. Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sim.problems import BadInput, Problem
from workloads.datasets.pixels import PixelParts, Pixels
from workloads.datasets.reading import bad_file, is_packed, one_of, read_whole, require_folder

UNSIGNED_BYTE = 0x08
CLASSES = 10


def load_mnist(folder: Path, *, classes: int = CLASSES) -> PixelParts:
    """The images (n, height, width, 1) and labels of the four IDX files in ``folder``, with or without ``.gz``.

    Raises BadInput when a file is missing, is no IDX file, is shorter or longer than its header says, holds another
    number of labels than images, or labels outside 0 to ``classes`` - 1; all files' problems at once.
    """
    require_folder(folder)
    parts: dict[str, Pixels] = {}
    problems: list[Problem] = []
    for part in ("train", "t10k"):
        try:
            parts[part] = _load_part(folder, part, classes=classes)
        except BadInput as error:
            problems.extend(error.problems)
    if not problems and parts["train"].images.shape[1:] != parts["t10k"].images.shape[1:]:
        size = "test images of {} × {} pixels, as the training images".format(*parts["train"].images.shape[1:3])
        problems.append(bad_file(folder, size, value="{} × {}".format(*parts["t10k"].images.shape[1:3])))
    if problems:
        raise BadInput(problems)
    names = tuple(str(number) for number in range(classes))
    return PixelParts(train=parts["train"], test=parts["t10k"], class_names=names)


def read_idx(path: Path, *, axes: int) -> npt.NDArray[np.uint8]:
    """The array of bytes with ``axes`` axes that an IDX file holds.

    Raises BadInput when the file is missing or damaged, or holds something else.
    """
    data = read_whole(path)
    head = 4 + 4 * axes
    if len(data) < 4 or data[:2] != b"\0\0":
        magic = f"an IDX file: first the bytes 00 00 08 {axes:02x}"
        raise BadInput([bad_file(path, magic, value=data[:4].hex(" ") or "an empty file")])
    if data[2] != UNSIGNED_BYTE or data[3] != axes:
        expected = f"unsigned bytes (type 08) with {axes} axes"
        raise BadInput([bad_file(path, expected, value=f"type {data[2]:02x} with {data[3]} axes")])
    if len(data) < head:
        raise BadInput([bad_file(path, f"a header of {head} bytes", value=f"{len(data)} bytes in all")])
    shape = struct.unpack(f">{axes}I", data[4:head])
    if 0 in shape:
        raise BadInput([bad_file(path, "no axis of length 0", value=f"shape {shape}")])
    if len(data) != head + math.prod(shape):
        expected = f"{head + math.prod(shape)} bytes, as its header says (shape {shape})"
        raise BadInput([bad_file(path, expected, value=f"{len(data)} bytes")])
    return np.frombuffer(data, dtype=np.uint8, offset=head).reshape(shape)


def _load_part(folder: Path, part: str, *, classes: int) -> Pixels:
    problems: list[Problem] = []
    arrays, paths = [], []
    for kind, axes in (("images", 3), ("labels", 1)):
        try:
            path = one_of(folder, _names(part, kind, axes))
            arrays.append(read_idx(path, axes=axes))
            paths.append(path)
        except BadInput as error:
            problems.extend(error.problems)
    if problems:
        raise BadInput(problems)
    images, labels = arrays
    if len(images) != len(labels):
        expected = f"as many labels as {part} images ({len(images)})"
        raise BadInput([bad_file(path, expected, value=len(labels))])
    if labels.max() >= classes:
        raise BadInput([bad_file(path, f"labels from 0 to {classes - 1}", value=int(labels.max()))])
    return Pixels(
        images=images[..., np.newaxis],
        labels=labels.astype(np.int64),
        storage_bytes=sum(path.stat().st_size for path in paths),
        files=len(paths),
        packed=any(is_packed(path) for path in paths),
    )


def _names(part: str, kind: str, axes: int) -> tuple[str, ...]:
    """The names under which the files go: as published, and with the dot that some unpackers write."""
    plain = (f"{part}-{kind}-idx{axes}-ubyte", f"{part}-{kind}.idx{axes}-ubyte")
    return (*plain, *(f"{name}.gz" for name in plain))
