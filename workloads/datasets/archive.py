"""A local .npz file with the arrays ``images`` and ``labels``."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.problems import BadInput, Problem
from workloads.datasets.dataset import Labelled
from workloads.datasets.storage import StoredSample

Array = npt.NDArray[Any]
IMAGES, LABELS = "images", "labels"
UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises for files that are cut off, damaged or hold Python objects."""


def load_archive(path: Path) -> Labelled:
    """The images (n, height, width, channels) or (n, height, width), any real numbers, and labels (n,) from 0 on.

    Raises BadInput with every problem found, each naming the file and the array.
    """
    arrays, problems = _read(path)
    if not problems:
        problems = [*_image_problems(path, arrays[IMAGES]), *_label_problems(path, arrays[LABELS])]
    if not problems and len(arrays[IMAGES]) != len(arrays[LABELS]):
        expected = f"as many labels as images ({len(arrays[IMAGES])})"
        problems.append(_problem(path, LABELS, expected, value=len(arrays[LABELS])))
    if problems:
        raise BadInput(problems)
    images = arrays[IMAGES].astype(np.float64)
    mean = path.stat().st_size / max(1, len(images))
    with zipfile.ZipFile(path) as opened:
        packed = any(each.compress_type != zipfile.ZIP_STORED for each in opened.infolist())
    return Labelled(
        images=images[..., np.newaxis] if images.ndim == 3 else images,
        labels=arrays[LABELS].astype(np.int64),
        stored=StoredSample(bytes_per_sample=mean, files=1, packed=packed, source="size of the file"),
    )


def _read(path: Path) -> tuple[Mapping[str, Array], list[Problem]]:
    if not path.is_file():
        return {}, [_problem(path, "", "a file that exists")]
    try:
        with path.open("rb") as file:
            opened = np.load(file, allow_pickle=False)
            if not isinstance(opened, np.lib.npyio.NpzFile):
                return {}, [_problem(path, "", "an .npz file with the arrays images and labels, not a single array")]
            return _read_arrays(path, opened)
    except UNREADABLE:
        return {}, [_problem(path, "", "a whole .npz file written by numpy.savez")]


def _read_arrays(path: Path, opened: np.lib.npyio.NpzFile) -> tuple[Mapping[str, Array], list[Problem]]:
    arrays: dict[str, Array] = {}
    problems: list[Problem] = []
    for key in (IMAGES, LABELS):
        if key not in opened.files:
            problems.append(_problem(path, key, f"this array (there are: {', '.join(opened.files) or 'none'})"))
            continue
        try:
            arrays[key] = opened[key]
        except UNREADABLE:
            problems.append(_problem(path, key, "an array of numbers that can be read whole"))
    return arrays, problems


def _image_problems(path: Path, images: Array) -> list[Problem]:
    if images.dtype.kind not in "uifb":
        return [_problem(path, IMAGES, "real numbers", value=f"dtype {images.dtype}")]
    if images.ndim not in (3, 4) or 0 in images.shape:
        expected = "shape (images, height, width) or (images, height, width, channels), none of them 0"
        return [_problem(path, IMAGES, expected, value=f"shape {images.shape}")]
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        return [_problem(path, IMAGES, "finite numbers only", value=f"{int((~np.isfinite(images)).sum())} others")]
    return []


def _label_problems(path: Path, labels: Array) -> list[Problem]:
    if labels.dtype.kind not in "ui":
        return [_problem(path, LABELS, "whole numbers", value=f"dtype {labels.dtype}")]
    if labels.ndim != 1:
        return [_problem(path, LABELS, "shape (images,)", value=f"shape {labels.shape}")]
    if len(labels) and labels.min() < 0:
        return [_problem(path, LABELS, "class numbers from 0 on", value=int(labels.min()))]
    return []


def _problem(path: Path, key: str, expected: str, *, value: object = None) -> Problem:
    return Problem(file=str(path), key=key, value=value, expected=expected)
