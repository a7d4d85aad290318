"""Groups of routers, all joined inside a group, and every pair of groups joined by global links: minimal routing."""

from __future__ import annotations

import numpy as np

from sim.machine.network_spec import DragonflySpec
from sim.network.fabrics.fabric import Crossing, LinkKind, Numbers, Paths, those


class Dragonfly:
    """``nodes`` nodes in use, in as few groups as hold them; each router has ``router_nodes`` of them.

    Global port k of a group (on router k / ``router_global_links``) leads to the k-th group after it, counted round;
    what ports are left over lead to the same groups again. Between two groups a message takes the port that its
    destination's number picks among those that lead there.
    """

    def __init__(self, spec: DragonflySpec, *, nodes: int) -> None:
        self.spec = spec
        self.groups = -(-nodes // spec.group_nodes)
        place = np.arange(nodes)
        self._router = place // spec.router_nodes
        self._group = place // spec.group_nodes
        others = max(1, self.groups - 1)
        self._copies = max(1, spec.group_links // others)
        routers = self.groups * spec.group_routers
        self.kinds = (
            LinkKind(
                kind="local",
                count=routers * spec.group_routers,
                bytes_per_second=spec.local_bytes_per_second,
                name=self._local_name,
            ),
            LinkKind(
                kind="global",
                count=self.groups * spec.group_links,
                bytes_per_second=spec.global_bytes_per_second,
                name=self._global_name,
            ),
        )

    def paths(self, source: Numbers, destination: Numbers) -> Paths:
        """At most a local link, a global link and a local link."""
        spec = self.spec
        router, end = self._router[source], self._router[destination]
        group, last = self._group[source], self._group[destination]
        hops = np.zeros(len(source), dtype=np.int64)
        crossings: list[Crossing] = []
        crossing = group != last
        if crossing.any():
            messages = np.flatnonzero(crossing)
            out, into, to = group[messages], last[messages], destination[messages]
            others = self.groups - 1
            step = (into - out - 1) % self.groups
            copy = to % self._copies * others
            port, back = step + copy, others - 1 - step + copy
            crossings.append(Crossing(1, out * spec.group_links + port, those(crossing)))
            hops[messages] += 1
            leaving = out * spec.group_routers + port // spec.router_global_links
            arriving = into * spec.group_routers + back // spec.router_global_links
            self._local(crossings, hops, messages, router[messages], leaving)
            self._local(crossings, hops, messages, arriving, end[messages])
        inside = np.flatnonzero(~crossing)
        self._local(crossings, hops, inside, router[inside], end[inside])
        return Paths(tuple(crossings), hops.astype(np.float64) * spec.hop_latency_seconds)

    def _local(
        self, crossings: list[Crossing], hops: Numbers, messages: Numbers, router: Numbers, end: Numbers
    ) -> None:
        """Add the links between different routers of a group."""
        used = np.flatnonzero(router != end)
        if len(used):
            size = self.spec.group_routers
            crossings.append(Crossing(0, router[used] * size + end[used] % size, messages[used]))
            hops[messages[used]] += 1

    def _local_name(self, link: int) -> str:
        router, other = divmod(link, self.spec.group_routers)
        group, place = divmod(router, self.spec.group_routers)
        return f"group {group}, router {place} to router {other}"

    def _global_name(self, link: int) -> str:
        group, port = divmod(link, self.spec.group_links)
        return f"group {group}, global link {port}"
