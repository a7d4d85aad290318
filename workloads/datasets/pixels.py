"""Images as they are on storage: bytes, labelled, in two parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, eq=False)
class Pixels:
    """Images (n, height, width, channels) uint8 with their class numbers (n,) int64.

    ``storage_bytes`` is what the ``files`` that hold them take on storage, all together; ``packed``: by gzip.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    storage_bytes: int
    files: int = 1
    packed: bool = False

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelParts:
    """The images to learn from and the images to be judged by, as their makers divided them."""

    train: Pixels
    test: Pixels
    class_names: tuple[str, ...]
