"""A grid of nodes closed to rings, with dimension-ordered routing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim.machine.network_spec import TorusSpec
from sim.network.fabrics.fabric import Crossing, LinkKind, Numbers, Paths


class Torus:
    """Node n stands at n modulo the first length, then the rest modulo the second, and so on.

    A message walks the first dimension until it is right, then the next, each the shorter way round (forward if both
    are as long). All places of the grid have links, also those whose nodes are not in use.
    """

    def __init__(self, spec: TorusSpec) -> None:
        self.spec = spec
        kinds = []
        for axis, _ in enumerate(spec.dimensions):
            for way in ("+", "-"):
                kinds.append(
                    LinkKind(
                        kind=f"dimension {axis + 1} {way}",
                        count=spec.places,
                        bytes_per_second=spec.link_bytes_per_second,
                        name=_namer(axis, way),
                    )
                )
        self.kinds = tuple(kinds)

    def paths(self, source: Numbers, destination: Numbers) -> Paths:
        """One link for each step from node to node; link i of a kind leads out of node i."""
        crossings: list[Crossing] = []
        at = source.copy()
        hops = np.zeros(len(source), dtype=np.int64)
        stride = 1
        for axis, length in enumerate(self.spec.dimensions):
            here, there = at // stride % length, destination // stride % length
            ahead = (there - here) % length
            back = length - ahead
            forward = ahead <= back
            distance = np.where(forward, ahead, back)
            distance[ahead == 0] = 0
            hops += distance
            rest = at - here * stride
            for number, way in enumerate((1, -1)):
                messages = np.flatnonzero((distance > 0) & (forward if way > 0 else ~forward))
                place, base, left = here[messages], rest[messages], distance[messages]
                while len(messages):
                    crossings.append(Crossing(2 * axis + number, base + place * stride, messages))
                    going = left > 1
                    if not going.all():
                        messages, place, base, left = messages[going], place[going], base[going], left[going]
                    place = (place + way) % length
                    left = left - 1
            at = rest + there * stride
            stride *= length
        return Paths(tuple(crossings), hops.astype(np.float64) * self.spec.hop_latency_seconds)


def _namer(axis: int, way: str) -> Callable[[int], str]:
    return lambda link: f"node {link} to its neighbour {way} in dimension {axis + 1}"
