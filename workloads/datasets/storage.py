"""What a sample costs on storage: the bytes that have to be read for it, and whether the host unpacks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from workloads.datasets.image_folder import ImageFolder
from workloads.datasets.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class StoredSample:
    """Mean ``bytes_per_sample`` in so many ``files``; ``packed`` samples have to be decoded before they are of use.

    ``source`` says where the number is from.
    """

    bytes_per_sample: float
    files: int
    packed: bool
    source: str

    def __post_init__(self) -> None:
        if not self.bytes_per_sample >= 0 or self.files < 0:
            raise ValueError("bytes and files are not negative")


GENERATED = StoredSample(bytes_per_sample=0.0, files=0, packed=False, source="generated, not stored")
"""A sample that is computed where it is used."""

IMAGENET_TRAIN = StoredSample(
    bytes_per_sample=147_897_477_120 / 1_281_167,
    files=1_281_167,
    packed=True,
    source="ILSVRC2012_img_train.tar, 147,897,477,120 bytes, 1,281,167 images (image-net.org)",
)
IMAGENET_TEST = StoredSample(
    bytes_per_sample=6_744_924_160 / 50_000,
    files=50_000,
    packed=True,
    source="ILSVRC2012_img_val.tar, 6,744,924,160 bytes, 50,000 images (image-net.org)",
)
IMAGENET_SWCAFFE = StoredSample(
    bytes_per_sample=192e6 / 256,
    files=1,
    packed=False,
    source="192 MB for a batch of 256 in one file (swCaffe, Li et al., IEEE CLUSTER 2018, section V.B)",
)
"""ImageNet as swCaffe reads it on TaihuLight: decoded pixels in one file."""

SPEECH = StoredSample(
    bytes_per_sample=4e12 / 8e6,
    files=1,
    packed=False,
    source="4 TB of audio (E. Elsen, Deep Speech 2); 8 million recordings of 11,940 hours, recalled from Amodei et al.",
)
"""Recordings for a recogniser of the class of Deep Speech 2."""


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


def usual_sample(dataset: str | None) -> StoredSample:
    """What a sample of a dataset costs on storage when its files are not at hand; None: no data at all.

    Images are swCaffe's pixels, whatever folder they are in here, as decoding each of them in every epoch is what that
    file is for.
    """
    return _USUAL.get(dataset or "", GENERATED)


_USUAL: Final[Mapping[str, StoredSample]] = MappingProxyType(
    {
        "images": IMAGENET_SWCAFFE,
        "digits": stored_array((8, 8, 1), itemsize=8, source="numbers of eight bytes"),
        "mnist": stored_array((28, 28, 1), itemsize=1, source="bytes of IDX files"),
        "cifar10": stored_array((32, 32, 3), itemsize=1, source="bytes of the binary files"),
    }
)
