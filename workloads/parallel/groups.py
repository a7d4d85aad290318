"""Groups of ranks that exchange arrays by the schedules that the network times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnlib.layers.layer import Array
from sim.network.schedule import execute
from workloads.parallel.schedules import Collectives, point_to_point, shards


@dataclass(frozen=True)
class ArrayGroup:
    """``ranks`` ranks and what they exchange by ``collectives``. Lists have an entry for each rank."""

    collectives: Collectives
    ranks: int

    def all_reduce(self, arrays: Sequence[Array]) -> list[Array]:
        """Every rank's sum of all ranks' arrays, which are of one shape."""
        flat = np.stack([array.reshape(-1) for array in arrays])
        total = execute(self.collectives.all_reduce(ranks=self.ranks, elements=flat.shape[1]), flat)
        return [each.reshape(arrays[0].shape) for each in total]

    def all_gather(self, arrays: Sequence[Array]) -> list[Array]:
        """On every rank the arrays of all ranks (ranks, ...), which are of one shape."""
        size = arrays[0].size
        places = shards(ranks=self.ranks, elements=self.ranks * size)
        gathered = self.join_shards([array.reshape(-1) for array in arrays], self.ranks * size)
        return [
            np.stack([whole[first:last] for first, last in places]).reshape(-1, *arrays[0].shape) for whole in gathered
        ]

    def reduce_scatter(self, arrays: Sequence[Array]) -> list[Array]:
        """Of the sum of all ranks' vectors (n,) each rank's part."""
        flat = np.stack(list(arrays))
        size = flat.shape[1]
        total = execute(self.collectives.reduce_scatter(ranks=self.ranks, elements=size), flat)
        places = shards(ranks=self.ranks, elements=size)
        return [total[rank, first:last].copy() for rank, (first, last) in enumerate(places)]

    def join_shards(self, parts: Sequence[Array], size: int) -> list[Array]:
        """On every rank the vector (size,) of which each rank has its part."""
        held = np.full((self.ranks, size), np.nan, dtype=parts[0].dtype)
        for rank, (first, last) in enumerate(shards(ranks=self.ranks, elements=size)):
            held[rank, first:last] = parts[rank]
        return list(execute(self.collectives.all_gather(ranks=self.ranks, elements=size), held))


def send(array: Array) -> Array:
    """What a rank has of another rank's array once it has come."""
    held = np.zeros((2, array.size), dtype=array.dtype)
    held[0] = array.reshape(-1)
    arrived: Array = execute(point_to_point(elements=array.size), held)[1]
    return arrived.reshape(array.shape)
