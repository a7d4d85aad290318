"""The pipeline: where a network is cut into stages, and in which order a stage takes its micro-batches (1F1B)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from nnlib.graph import Graph, Node
from nnlib.segments import crossing

Pass: TypeAlias = Literal["forward", "backward"]


class Work(NamedTuple):
    """A pass of one micro-batch through one stage."""

    kind: Pass
    micro_batch: int


def one_forward_one_backward(*, stages: int, stage: int, micro_batches: int) -> tuple[Work, ...]:
    """What ``stage`` does, in order (Narayanan et al. 2019).

    A forward pass for every stage behind it, then forward and backward in turn, then what backward passes are left: no
    stage keeps the activations of more than ``stages - stage`` micro-batches.
    """
    ahead = min(stages - stage - 1, micro_batches)
    order = [Work("forward", number) for number in range(ahead)]
    for number in range(ahead, micro_batches):
        order += [Work("forward", number), Work("backward", number - ahead)]
    return (*order, *(Work("backward", number) for number in range(micro_batches - ahead, micro_batches)))


def in_flight(*, stages: int, stage: int, micro_batches: int) -> int:
    """The most micro-batches whose activations a stage keeps."""
    return min(stages - stage, micro_batches)


@dataclass(frozen=True)
class Stages:
    """A graph cut into stages of consecutive nodes: stage s has the nodes from ``bounds[s]`` to ``bounds[s + 1]``."""

    graph: Graph
    bounds: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.bounds) - 1

    def nodes(self, stage: int) -> tuple[Node, ...]:
        """The nodes of a stage."""
        return self.graph.nodes[self.bounds[stage] : self.bounds[stage + 1]]

    @cached_property
    def of(self) -> dict[str, int]:
        """The stage of each node."""
        return {node.name: stage for stage in range(self.count) for node in self.nodes(stage)}

    @cached_property
    def crossing(self) -> tuple[tuple[str, ...], ...]:
        """For each stage but the last the tensors that it hands on: made in it or before, taken behind it.

        Inputs of the graph are at hand everywhere; what losses take goes on to the last stage.
        """
        last = {name: self.of[node.name] for node in self.graph.nodes for name in node.inputs}
        last |= dict.fromkeys(self.graph.outputs, self.count - 1)
        return tuple(
            tuple(node.name for node in self.graph.nodes if self.of[node.name] <= stage < last.get(node.name, -1))
            for stage in range(self.count - 1)
        )

    def crossing_elements(self, stage: int) -> int:
        """Numbers per sample that a stage hands on."""
        return sum(prod(self.graph.shapes[name]) for name in self.crossing[stage])

    def returning_elements(self, stage: int) -> int:
        """Numbers per sample of the gradients that come back to a stage."""
        return sum(prod(self.graph.shapes[name]) for name in self.crossing[stage] if name in self.graph.learned)

    @cached_property
    def parameters(self) -> tuple[tuple[str, ...], ...]:
        """For each stage the parameters that its layers use; what layers of several stages share is in each of them."""
        names = self.graph.variable_names
        return tuple(
            tuple(
                dict.fromkeys(
                    full
                    for node in self.nodes(stage)
                    for full in names[node.name].values()
                    if full in self.graph.parameters
                )
            )
            for stage in range(self.count)
        )


def cut_into_stages(graph: Graph, weights: Sequence[float], count: int) -> Stages:
    """``count`` stages of which the one with most ``weights`` (one for each node) has as little as possible.

    Of all such cuts those are taken, from the first on, where fewest numbers cross, and of these the ones that divide
    what is left most evenly. Raises ValueError if there are more
    stages than nodes.
    """
    if not 1 <= count <= len(graph.nodes):
        raise ValueError(f"{count} stages of {len(graph.nodes)} layers")
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(weights, dtype=np.float64))])
    limit = _least_limit(sums, count)
    earliest = _from_behind(sums, count, limit)
    numbers = crossing(graph)
    bounds = [0]
    for number in range(1, count):
        last = int(np.searchsorted(sums, sums[bounds[-1]] + limit, side="right")) - 1
        first = max(earliest[number], bounds[-1] + 1)
        last = max(first, min(last, len(graph.nodes) - (count - number)))
        even = sums[bounds[-1]] + (sums[-1] - sums[bounds[-1]]) / (count - number + 1)
        choices = [(numbers[place], abs(float(sums[place] - even)), place) for place in range(first, last + 1)]
        bounds.append(min(choices)[2])
    return Stages(graph, (*bounds, len(graph.nodes)))


def heaviest(stages: Stages, weights: Sequence[float]) -> float:
    """The sum of the weights of the stage that has most."""
    return max(sum(weights[first:last]) for first, last in pairwise(stages.bounds))


def _least_limit(sums: np.ndarray, count: int) -> float:
    """The least weight of the heaviest of ``count`` stages: some stretch's own, found by bisection over all of them."""
    low, high = float(np.diff(sums).max(initial=0.0)), float(sums[-1])
    if _needed(sums, low) <= count:
        return low
    # bisect until no other stretch's weight lies between the bounds
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if _needed(sums, middle) <= count:
            high = middle
        else:
            low = middle
    return high


def _needed(sums: np.ndarray, limit: float) -> int:
    """Stages of at most ``limit``, filled from the first on."""
    place, count = 0, 0
    while place < len(sums) - 1:
        place = max(place + 1, int(np.searchsorted(sums, sums[place] + limit, side="right")) - 1)
        count += 1
    return count


def _from_behind(sums: np.ndarray, count: int, limit: float) -> list[int]:
    """For each cut the earliest place that leaves no stage behind it more than ``limit``."""
    found = [len(sums) - 1] * (count + 1)
    for number in range(count - 1, 0, -1):
        behind = found[number + 1]
        place = int(np.searchsorted(sums, sums[behind] - limit, side="left"))
        # rounded as a stage is filled from the front
        while place and sums[place - 1] + limit >= sums[behind]:
            place -= 1
        while sums[place] + limit < sums[behind]:
            place += 1
        found[number] = max(number, min(place, behind - 1))
    return found
