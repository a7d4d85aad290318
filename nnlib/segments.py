"""A network cut into segments, of which training with recomputation keeps only what goes from one to the next.

Chen et al. 2016 ("Training deep nets with sublinear memory cost"): about √n segments of n layers.
"""

from __future__ import annotations

from math import isqrt, prod

import numpy as np

from nnlib.graph import Graph, Node


def segments(graph: Graph) -> tuple[tuple[Node, ...], ...]:
    """The nodes in order, cut where few numbers cross; segments have about equally many activations."""
    sizes = np.cumsum([prod(graph.shapes[node.name]) for node in graph.nodes])
    numbers = crossing(graph)
    count = max(1, isqrt(len(graph.nodes)))
    cuts = [0]
    for number in range(1, count):
        low, high = ((number - 0.5) / count, (number + 0.5) / count)
        first, last = (int(np.searchsorted(sizes, each * sizes[-1])) for each in (low, high))
        places = range(max(first, cuts[-1] + 1), min(last, len(graph.nodes) - 1) + 1)
        if places:
            cuts.append(min(places, key=lambda place: (numbers[place], place)))
    return tuple(graph.nodes[begin:end] for begin, end in zip(cuts, [*cuts[1:], len(graph.nodes)], strict=True))


def kept_between(graph: Graph, parts: tuple[tuple[Node, ...], ...]) -> frozenset[str]:
    """The nodes whose output a later segment takes."""
    segment = {node.name: number for number, part in enumerate(parts) for node in part}
    return frozenset(
        name for node in graph.nodes for name in node.inputs if name in segment and segment[name] != segment[node.name]
    )


def crossing(graph: Graph) -> list[int]:
    """For a cut before each node, the numbers per sample that are made before it and taken behind it."""
    place = {node.name: number for number, node in enumerate(graph.nodes)}
    steps = np.zeros(len(graph.nodes) + 1, dtype=np.int64)
    last: dict[str, int] = {}
    for number, node in enumerate(graph.nodes):
        last.update({name: number for name in node.inputs if name in place})
    for name, number in last.items():
        size = prod(graph.shapes[name])
        steps[place[name] + 1] += size
        steps[number + 1] -= size
    return [int(each) for each in np.cumsum(steps)[: len(graph.nodes)]]
