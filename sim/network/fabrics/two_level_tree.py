"""Supernodes of full bisection below central switches, as TaihuLight has them (THESIS §7.2.1, SWCAFFE §II.B)."""

from __future__ import annotations

import numpy as np

from sim.machine.network_spec import TwoLevelTreeSpec
from sim.network.fabrics.fabric import Crossing, LinkKind, Numbers, Paths, nowhere, picked, those


class TwoLevelTree:
    """``nodes`` nodes in use; node n hangs in supernode n / ``supernode_nodes``.

    Static destination routing: to node n every message takes uplink n modulo the number of uplinks of a supernode, and
    from the central switch on which it ends the link of the same number down into n's supernode.
    """

    def __init__(self, spec: TwoLevelTreeSpec, *, nodes: int) -> None:
        self.spec = spec
        supernodes = -(-nodes // spec.supernode_nodes)
        place = np.arange(nodes)
        self._supernode = place // spec.supernode_nodes
        # first link of each node's supernode, and the link down to the node
        self._first = self._supernode * spec.uplinks
        self._port = place % spec.uplinks
        self._down = self._first + self._port
        count = supernodes * spec.uplinks
        rate = spec.uplink_bytes_per_second
        self.kinds = (
            LinkKind(kind="supernode up", count=count, bytes_per_second=rate, name=self._up_name),
            LinkKind(kind="supernode down", count=count, bytes_per_second=rate, name=self._down_name),
        )

    def paths(self, source: Numbers, destination: Numbers) -> Paths:
        """Nothing inside a supernode; between two of them a link up and a link down."""
        crossing = self._supernode[source] != self._supernode[destination]
        if not crossing.any():
            return nowhere(len(source))
        messages = those(crossing)
        into = picked(destination, messages)
        up = self._first[picked(source, messages)] + self._port[into]
        crossings = (Crossing(0, up, messages), Crossing(1, self._down[into], messages))
        latency = np.float64(self.spec.hop_latency_seconds)
        if messages is None:
            return Paths(crossings, np.broadcast_to(latency, len(source)))
        return Paths(crossings, np.where(crossing, latency, 0.0))

    def _place(self, link: int) -> tuple[int, str]:
        supernode, port = divmod(link, self.spec.uplinks)
        switch, lane = port % self.spec.central_switches, port // self.spec.central_switches
        return supernode, f"central switch {switch}" if self.spec.links_per_switch == 1 else (
            f"central switch {switch}, link {lane}"
        )

    def _up_name(self, link: int) -> str:
        supernode, switch = self._place(link)
        return f"supernode {supernode} up to {switch}"

    def _down_name(self, link: int) -> str:
        supernode, switch = self._place(link)
        return f"supernode {supernode} down from {switch}"
