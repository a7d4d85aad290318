"""The optimiser's step divided among the replicas: each has the state of its part and updates it.

Rajbhandari et al. 2020, stage 1. A stage's tensor ranks have their parameters packed one behind the other; the
replicas of such a rank divide this vector: each gets the sum of its part of the gradients (reduce-scatter), updates
that part, and all collect each other's weights (all-gather). Optimisers that need norms of whole tensors add up sums
of squares first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from nnlib.graph import Variables, add_to
from nnlib.layers.layer import Array
from nnlib.optim.lamb import LAMB
from nnlib.optim.lars import LARS
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.state import State
from nnlib.update import state_kinds
from workloads.parallel.execution import Execution, packed, unpacked
from workloads.parallel.groups import ArrayGroup
from workloads.parallel.schedules import shards

WEIGHT, GRADIENT = "weight", "gradient"

Held = dict[str, dict[str, Array]]
"""Arrays by kind (weight, gradient, and what the optimiser keeps) and parameter."""


@dataclass(frozen=True)
class Shard:
    """What one rank updates: its numbers of each parameter, of which it has any, by kind.

    Arrays have as many axes as their tensors, as decay depends on that; only the first is longer than 1.
    """

    held: Held
    step: Array

    @property
    def state(self) -> State:
        """The optimiser's state as it wants it."""
        kept = [kind for kind in self.held if kind not in (WEIGHT, GRADIENT)]
        arrays = {f"{kind}:{name}": array for kind in kept for name, array in self.held[kind].items()}
        return {"step": self.step, **arrays}


@dataclass(frozen=True)
class ShardedUpdate:
    """The update by the ranks of ``execution``; weights and state, as whole arrays, change in place."""

    execution: Execution

    @property
    def replicas(self) -> ArrayGroup:
        """The ranks that divide one vector of parameters."""
        return ArrayGroup(self.execution.collectives, self.execution.replicas)

    @property
    def tensor_ranks(self) -> ArrayGroup:
        """The ranks that divide a layer."""
        return ArrayGroup(self.execution.collectives, self.execution.division.ways)

    def step(self, *, optimizer: Optimizer, parameters: Variables, grads: Variables, state: State, rate: float) -> None:
        """One step of size ``rate`` from gradients that are summed over the replicas."""
        kinds = state_kinds(optimizer)
        whole = {WEIGHT: parameters, GRADIENT: grads}
        whole |= {kind: {name: state[f"{kind}:{name}"] for name in parameters} for kind in kinds}
        counted = state.get("step", np.zeros(1))
        stages = [
            [self._local(names, whole, rank) for rank in range(self.execution.division.ways)] if names else []
            for names in self.execution.stages.parameters
        ]
        held = [[self._shards(local, counted) for local in ranks] for ranks in stages]
        if isinstance(optimizer, LARS | LAMB):
            self._with_norms(optimizer, held, rate)
        else:
            for shard in (shard for ranks in held for several in ranks for shard in several):
                optimizer.update(shard.held[WEIGHT], shard.held[GRADIENT], shard.state, rate=rate)
        counted += 1
        for ranks, shards_of in zip(stages, held, strict=True):
            for rank, several in enumerate(shards_of):
                self._collect(ranks[rank], several, whole, rank)

    def _local(self, names: Iterable[str], whole: Mapping[str, Variables], rank: int) -> Held:
        """A tensor rank's part of a stage's arrays."""
        pieces, ways = self.execution.division.pieces, self.execution.division.ways
        return {
            kind: {name: pieces[name].of(arrays[pieces[name].full], ways=ways, rank=rank) for name in names}
            for kind, arrays in whole.items()
        }

    def _shards(self, local: Held, step: Array) -> list[Shard]:
        """The same divided among the replicas."""
        vectors = {kind: packed(arrays, arrays) for kind, arrays in local.items()}
        shapes = {name: array.shape for name, array in local[WEIGHT].items()}
        ends = np.cumsum([prod(shape) for shape in shapes.values()])
        found = []
        for first, last in shards(ranks=self.replicas.ranks, elements=int(ends[-1])):
            held: Held = {kind: {} for kind in vectors}
            for (name, shape), end in zip(shapes.items(), ends, strict=True):
                begin = max(first, int(end) - prod(shape))
                if begin < min(last, end):
                    for kind, vector in vectors.items():
                        stretch = vector[begin : min(last, int(end))].copy()
                        held[kind][name] = stretch.reshape(-1, *(1,) * (len(shape) - 1))
            found.append(Shard(held, step.copy()))
        return found

    def _with_norms(self, optimizer: LARS | LAMB, held: list[list[list[Shard]]], rate: float) -> None:
        """Update by an optimiser that needs the norms of whole tensors."""
        others = [[[_others(optimizer, shard) for shard in several] for several in ranks] for ranks in held]
        norms = self._norms(held, others)
        pieces = self.execution.division.pieces
        for ranks, others_of in zip(held, others, strict=True):
            for several, theirs in zip(ranks, others_of, strict=True):
                for shard, by in zip(several, theirs, strict=True):
                    for name, weight in shard.held[WEIGHT].items():
                        own, other = norms[pieces[name].full]
                        if isinstance(optimizer, LAMB):
                            ratio = optimizer.ratio_of_norms(weight_norm=own, direction_norm=other, axes=weight.ndim)
                            weight -= rate * ratio * by[name]
                        else:
                            ratio = optimizer.ratio_of_norms(weight_norm=own, grad_norm=other, axes=weight.ndim)
                            optimizer.move(weight, by[name], shard.held["velocity"][name], rate=rate, ratio=ratio)

    def _norms(
        self, held: list[list[list[Shard]]], others: list[list[list[Variables]]]
    ) -> dict[str, tuple[float, float]]:
        """The norms of the network's parameters, and of what ``others`` has of them.

        Sums of squares of a piece are added over the replicas and, where it is divided, the tensor ranks; then those
        of all pieces of a parameter, in whatever stage they are.
        """
        pieces = self.execution.division.pieces
        squares: dict[str, Array] = {}
        for stage, names in enumerate(self.execution.stages.parameters):
            if not names:
                continue
            sums = [
                self.replicas.all_reduce(
                    [_squares(names, shard.held[WEIGHT], by) for shard, by in zip(several, theirs, strict=True)]
                )[0]
                for several, theirs in zip(held[stage], others[stage], strict=True)
            ]
            total = self.tensor_ranks.all_reduce(sums)
            for place, name in enumerate(names):
                divided = pieces[name].axis is not None
                squares[name] = (total if divided else sums)[0][place]
        found: dict[str, Array] = {}
        for name, each in squares.items():
            add_to(found, pieces[name].full, each)
        return {full: (float(each[0]) ** 0.5, float(each[1]) ** 0.5) for full, each in found.items()}

    def _collect(self, local: Held, several: Sequence[Shard], whole: Mapping[str, Variables], rank: int) -> None:
        """Write what the replicas updated into the whole arrays: weights are sent to all, state stays where it is."""
        division = self.execution.division
        size = sum(array.size for array in local[WEIGHT].values())
        for kind in whole:
            if kind == GRADIENT:
                continue
            parts = [packed(shard.held[kind], shard.held[kind]) for shard in several]
            vector = (
                self.replicas.join_shards(parts, size)[rank % len(parts)] if kind == WEIGHT else np.concatenate(parts)
            )
            for name, array in unpacked(vector, local[kind]).items():
                piece = division.pieces[name]
                piece.put(whole[kind][piece.full], array, ways=division.ways, rank=rank)


def _others(optimizer: LARS | LAMB, shard: Shard) -> Variables:
    """What the ratio compares the weights with: LAMB's directions, for which its moments move on, or gradients."""
    if isinstance(optimizer, LARS):
        return shard.held[GRADIENT]
    state = shard.state
    state["step"] += 1
    return {
        name: optimizer.direction(name, weight, shard.held[GRADIENT][name], state)
        for name, weight in shard.held[WEIGHT].items()
    }


def _squares(names: Sequence[str], *arrays: Variables) -> Array:
    """Sums of squares (names, arrays) of what there is."""
    sums = [[float(np.sum(np.square(each[name]))) if name in each else 0.0 for each in arrays] for name in names]
    return np.array(sums)
