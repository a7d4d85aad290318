"""Layers at which the ranks of a tensor group exchange numbers (Shoeybi et al. 2019).

A tensor is *whole* on every rank, or every rank has its *part* of the last axis. Gradients by whole tensors are whole
on every rank, those by parts are the part's. What a rank computes with its part of a layer is exact but for a sum over
the ranks: of the output where it has a part of the inputs, of the gradient by the input where it has a part of the
outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, Protocol, TypeAlias

import numpy as np

from nnlib.layers.layer import Array, Layer, Shape, only_input
from workloads.parallel.pieces import Piece, Runs

Kind: TypeAlias = Literal["all_reduce", "all_gather", "reduce_scatter"]


class Group(Protocol):
    """Ranks that exchange arrays."""

    def all_reduce(self, arrays: Sequence[Array]) -> list[Array]:
        """Every rank's sum of all ranks' arrays, which are of one shape."""

    def all_gather(self, arrays: Sequence[Array]) -> list[Array]:
        """On every rank the arrays of all ranks (ranks, ...), which are of one shape."""

    def reduce_scatter(self, arrays: Sequence[Array]) -> list[Array]:
        """Of the sum of all ranks' vectors (n,) each rank's part."""


@dataclass(frozen=True)
class Exchange(Layer):
    """A layer that all ranks compute together. ``forward_kind`` and ``backward_kind``: what goes over the network."""

    @property
    def forward_kind(self) -> Kind | None:
        """The collective of the forward pass."""
        return None

    @property
    def backward_kind(self) -> Kind | None:
        """The collective of the backward pass."""
        return None

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return only_input(self.name, input_shapes)

    def exchanged(self, shape: Shape) -> int:
        """Numbers of a sample that the collective is about, for an input of ``shape``."""
        return prod(shape)

    def forward_all(self, arrays: Sequence[Array], group: Group) -> list[Array]:
        """Outputs of all ranks."""
        return list(arrays)

    def backward_all(self, grads: Sequence[Array], group: Group) -> list[Array]:
        """Gradients by the inputs of all ranks."""
        return list(grads)


@dataclass(frozen=True)
class CopyIn(Exchange):
    """A whole tensor goes into divided layers: their gradients by it are summed over the ranks."""

    @property
    def backward_kind(self) -> Kind | None:
        return "all_reduce"

    def backward_all(self, grads: Sequence[Array], group: Group) -> list[Array]:
        return group.all_reduce(grads)


@dataclass(frozen=True)
class SumOut(Exchange):
    """What the ranks made of their parts of the inputs is summed to a whole tensor."""

    @property
    def forward_kind(self) -> Kind | None:
        return "all_reduce"

    def forward_all(self, arrays: Sequence[Array], group: Group) -> list[Array]:
        return group.all_reduce(arrays)


@dataclass(frozen=True)
class GatherOut(Exchange):
    """Parts of the last axis, divided by ``runs`` among ``ways`` ranks, become whole on every rank.

    What parts have beyond the runs' ends is left out.
    """

    runs: Runs
    ways: int

    @property
    def forward_kind(self) -> Kind | None:
        return "all_gather"

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        return *shape[:-1], sum(length for _, length in self.runs)

    def exchanged(self, shape: Shape) -> int:
        return prod(shape) * self.ways

    def forward_all(self, arrays: Sequence[Array], group: Group) -> list[Array]:
        return [arranged(each, self.runs) for each in group.all_gather(arrays)]

    def backward_all(self, grads: Sequence[Array], group: Group) -> list[Array]:
        cut = Piece("", -1, self.runs)
        return [cut.of(grad, ways=self.ways, rank=rank) for rank, grad in enumerate(grads)]


@dataclass(frozen=True)
class ScatterOut(Exchange):
    """What the ranks made of their parts of the inputs is summed, of which each keeps its part of the last axis."""

    runs: Runs
    ways: int

    @property
    def forward_kind(self) -> Kind | None:
        return "reduce_scatter"

    @property
    def backward_kind(self) -> Kind | None:
        return "all_gather"

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        return *shape[:-1], shape[-1] // self.ways

    def forward_all(self, arrays: Sequence[Array], group: Group) -> list[Array]:
        cut = Piece("", -1, self.runs)
        vectors = [
            np.concatenate([cut.of(array, ways=self.ways, rank=rank).reshape(-1) for rank in range(self.ways)])
            for array in arrays
        ]
        shape = (*arrays[0].shape[:-1], arrays[0].shape[-1] // self.ways)
        return [part.reshape(shape) for part in group.reduce_scatter(vectors)]

    def backward_all(self, grads: Sequence[Array], group: Group) -> list[Array]:
        return [arranged(each, self.runs) for each in group.all_gather(grads)]


def arranged(parts: Array, runs: Runs) -> Array:
    """The whole along the last axis from the parts (ways, ..., part) of all ranks."""
    cut = Piece("", -1, runs)
    whole = np.empty((*parts.shape[1:-1], sum(length for _, length in runs)), dtype=parts.dtype)
    for rank, part in enumerate(parts):
        cut.put(whole, part, ways=len(parts), rank=rank)
    return whole
