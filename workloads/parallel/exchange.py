"""Layers at which the ranks of a tensor group exchange numbers (Shoeybi et al. 2019).

A tensor is *whole* on every rank, or every rank has its *part* of the last axis. Gradients by whole tensors are whole
on every rank, those by parts are the part's. What a rank computes with its part of a layer is exact but for a sum over
the ranks: of the output where it has a part of the inputs, of the gradient by the input where it has a part of the
outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np

from nnlib.layers.layer import Array, Layer, Shape, only_input
from workloads.parallel.pieces import Piece, Runs

Kind: TypeAlias = Literal["all_reduce", "all_gather"]


class Group(Protocol):
    """Ranks that exchange arrays."""

    def all_reduce(self, arrays: Sequence[Array]) -> list[Array]:
        """Every rank's sum of all ranks' arrays, which are of one shape."""

    def all_gather(self, arrays: Sequence[Array]) -> list[Array]:
        """On every rank the arrays of all ranks (ranks, ...), which are of one shape."""


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

    def forward_all(self, arrays: Sequence[Array], group: Group) -> list[Array]:
        return [self._arranged(each) for each in group.all_gather(arrays)]

    def backward_all(self, grads: Sequence[Array], group: Group) -> list[Array]:
        cut = Piece("", -1, self.runs)
        return [cut.of(grad, ways=self.ways, rank=rank) for rank, grad in enumerate(grads)]

    def _arranged(self, parts: Array) -> Array:
        """The whole from the parts (ways, ..., part)."""
        cut = Piece("", -1, self.runs)
        whole = np.empty((*parts.shape[1:-1], sum(length for _, length in self.runs)), dtype=parts.dtype)
        for rank, part in enumerate(parts):
            cut.put(whole, part, ways=self.ways, rank=rank)
        return whole
