"""What samples take on storage, said without looking for the data."""

from __future__ import annotations

from typing import Final

from workloads.datasets.storage import GENERATED, IMAGENET_SWCAFFE, StoredSample
from workloads.spec import DataSpec

HELD: Final = StoredSample(bytes_per_sample=0.0, files=0, packed=False, source="small, held in the memory of each node")


def planned_storage(data: DataSpec) -> StoredSample:
    """As the workload says, else by the kind of data: images as swCaffe reads those of ImageNet."""
    if data.stored is not None:
        return data.stored
    match data.dataset:
        case "images":
            return IMAGENET_SWCAFFE
        case "digits" | "archive" | "mnist" | "cifar10":
            return HELD
        case _:
            return GENERATED
