"""What every network between nodes offers: kinds of links, and the path of each message over them.

The nodes' own links are not among them: they are the same in every network (:mod:`sim.network.topology`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LinkKind:
    """``count`` equal links, each one way; link i is called ``name(i)``."""

    kind: str
    count: int
    bytes_per_second: float
    name: Callable[[int], str]


@dataclass(frozen=True)
class Crossing:
    """Message ``message[i]`` (None: message i, all of them) crosses link ``link[i]`` of kind number ``kind``."""

    kind: int
    link: Numbers
    message: Numbers | None = None


@dataclass(frozen=True)
class Paths:
    """All links that messages cross, and the seconds that switches on the way add to each message (messages,)."""

    crossings: tuple[Crossing, ...]
    seconds: Floats


class Fabric(Protocol):
    """Links between nodes. A message may cross a link of one kind in several crossings, but no link twice."""

    @property
    def kinds(self) -> tuple[LinkKind, ...]:
        """The kinds of links, numbered in this order."""

    def paths(self, source: Numbers, destination: Numbers) -> Paths:
        """The paths from node ``source[i]`` to node ``destination[i]``; equal nodes use no link."""


def nowhere(messages: int) -> Paths:
    """The paths of messages that cross no link."""
    return Paths((), np.broadcast_to(np.float64(0.0), messages))


def those(mask: NDArray[np.bool_]) -> Numbers | None:
    """The numbers of the messages in ``mask``, None for all."""
    return None if mask.all() else np.flatnonzero(mask)


def picked(values: Numbers, messages: Numbers | None) -> Numbers:
    """The values of some messages, or of all."""
    return values if messages is None else values[messages]
