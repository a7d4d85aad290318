"""What a sample costs on storage: the bytes that have to be read for it, and whether the host unpacks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what is only planned has no data
    from workloads.datasets.image_folder import ImageFolder
    from workloads.datasets.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class StoredSample:
    """Mean ``bytes_per_sample`` in so many ``files``; ``packed`` samples have to be decoded before they are of use.

    ``audio``: recordings, of which spectrograms have to be made. ``source`` says where the number is from.
    """

    bytes_per_sample: float
    files: int
    packed: bool
    source: str
    audio: bool = False

    def __post_init__(self) -> None:
        if not self.bytes_per_sample >= 0 or self.files < 0:
            raise ValueError("bytes and files are not negative")


GENERATED = StoredSample(bytes_per_sample=0.0, files=0, packed=False, source="generated, not stored")
"""A sample that is computed where it is used."""

IMAGENET_SWCAFFE = StoredSample(
    bytes_per_sample=192e6 / 256,
    files=1,
    packed=False,
    source="192 MB for a batch of 256 in one file (swCaffe, Li et al., IEEE CLUSTER 2018, section V.B)",
)
"""ImageNet as swCaffe reads it on TaihuLight: decoded pixels in one file."""


def stored_array(shape: tuple[int, ...], *, itemsize: int, files: int = 1, source: str) -> StoredSample:
    """A sample of ``shape`` kept as plain numbers of ``itemsize`` bytes."""
    size = itemsize
    for length in shape:
        size *= length
    return StoredSample(bytes_per_sample=float(size), files=files, packed=False, source=source)


def stored_pixels(pixels: Pixels) -> StoredSample:
    """The files of ``pixels``, shared out among its images."""
    mean = pixels.storage_bytes / len(pixels)
    return StoredSample(bytes_per_sample=mean, files=pixels.files, packed=pixels.packed, source="sizes of the files")


def stored_folder(folder: ImageFolder) -> StoredSample:
    """The mean size of the images' files."""
    mean = float(folder.file_bytes.mean())
    return StoredSample(bytes_per_sample=mean, files=len(folder), packed=True, source="sizes of the files")
