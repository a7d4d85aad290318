"""What messages meet on their way, and what is known of it from earlier."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REMEMBERED_BYTES: Final = 100_000_000
"""Routes that one topology keeps for when a step comes again."""


@dataclass(frozen=True)
class Routes:
    """What a set of messages meets: bytes per second for each, extra seconds, and who stays in a node."""

    rate: Floats
    hop_seconds: Floats
    inside_node: NDArray[np.bool_]

    @cached_property
    def all_equal(self) -> bool:
        """Whether all messages meet the same."""
        arrays = (self.rate, self.hop_seconds, self.inside_node)
        return bool(len(self.rate)) and all(bool((each == each[0]).all()) for each in arrays)

    @property
    def nbytes(self) -> int:
        """Memory they take."""
        arrays = (self.rate, self.hop_seconds, self.inside_node)
        return sum(each.nbytes for each in arrays if each.strides != (0,))


@dataclass
class RouteMemory:
    """Routes of steps by a key that says all about their messages; those not asked for longest are forgotten."""

    most_bytes: int = REMEMBERED_BYTES
    _known: OrderedDict[Hashable, Routes] = field(default_factory=OrderedDict, repr=False)
    _bytes: int = 0

    def get(self, key: Hashable, make: Callable[[], Routes]) -> Routes:
        """The routes of ``key``, made if they are not known."""
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
            return found
        found = self._known[key] = make()
        self._bytes += found.nbytes
        while self._bytes > self.most_bytes and len(self._known) > 1:
            self._bytes -= self._known.popitem(last=False)[1].nbytes
        return found


def latencies(routes: Routes, software: Floats, *, inside_seconds: float) -> Floats:
    """Seconds before each message's first byte: the protocol's and the hops', or ``inside_seconds`` inside a node.

    An array of equal numbers takes no memory if both are.
    """
    if routes.inside_node.any():
        return np.where(routes.inside_node, inside_seconds, routes.hop_seconds + software)
    if routes.hop_seconds.strides == software.strides == (0,) and len(software):
        return np.broadcast_to(routes.hop_seconds[0] + software[0], software.shape)
    return routes.hop_seconds + software
