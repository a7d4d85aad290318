"""A tree of switches in which every level up has links of its own, tapered or not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim.machine.network_spec import FatTreeSpec
from sim.network.fabrics.fabric import Crossing, LinkKind, Numbers, Paths, nowhere, picked, those


class FatTree:
    """``nodes`` nodes in use. A subtree of level l has ``spec.uplinks(l)`` links up and as many down.

    Messages go up only as far as they must; which of a subtree's links they take depends on their destination alone:
    its number modulo theirs, on the way up and on the way down.
    """

    def __init__(self, spec: FatTreeSpec, *, nodes: int) -> None:
        self.spec = spec
        place = np.arange(nodes)
        self._subtree, self._port = [], []
        kinds = []
        for level in range(1, spec.levels):
            uplinks = spec.uplinks(level)
            subtree = place // spec.subtree_nodes(level)
            self._subtree.append(subtree)
            self._port.append(place % uplinks)
            count = (int(subtree[-1]) + 1) * uplinks
            for way in ("up", "down"):
                kinds.append(
                    LinkKind(
                        kind=f"level {level} {way}",
                        count=count,
                        bytes_per_second=spec.uplink_bytes_per_second,
                        name=_namer(level, uplinks, way),
                    )
                )
        self.kinds = tuple(kinds)

    def paths(self, source: Numbers, destination: Numbers) -> Paths:
        """One link up and one down for every level at which the two are in different subtrees."""
        crossings: list[Crossing] = []
        seconds = np.zeros(len(source))
        for number, (subtree, port) in enumerate(zip(self._subtree, self._port, strict=True)):
            crossing = subtree[source] != subtree[destination]
            if not crossing.any():
                break
            messages = those(crossing)
            out, into = picked(source, messages), picked(destination, messages)
            uplinks = self.spec.uplinks(number + 1)
            crossings.append(Crossing(2 * number, subtree[out] * uplinks + port[into], messages))
            crossings.append(Crossing(2 * number + 1, subtree[into] * uplinks + port[into], messages))
            seconds += crossing * self.spec.hop_latency_seconds
        return Paths(tuple(crossings), seconds) if crossings else nowhere(len(source))


def _namer(level: int, uplinks: int, way: str) -> Callable[[int], str]:
    def name(link: int) -> str:
        subtree, port = divmod(link, uplinks)
        return f"subtree {subtree} of level {level} {way}, link {port}"

    return name
