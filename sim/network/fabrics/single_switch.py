"""All nodes on one switch."""

from __future__ import annotations

from sim.network.fabrics.fabric import LinkKind, Numbers, Paths, nowhere


class SingleSwitch:
    """Nothing between two nodes but their own links."""

    kinds: tuple[LinkKind, ...] = ()

    def paths(self, source: Numbers, destination: Numbers) -> Paths:
        """No link and no time."""
        return nowhere(len(source))
