"""What neighbours do alike in a step: groups of ranks, as far apart as others, that send around their group."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sim.network.schedule import Ranks, Step

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Exchange:
    """What the first ``radix`` · ``stride`` ranks do, as the next as many do among themselves, and so on.

    Rank i sends elements ``begin[i]`` to ``end[i]`` to the rank ``shift`` strides further in its group of ``radix``.
    """

    radix: int
    stride: int
    shift: int
    begin: Ranks
    end: Ranks
    reduce: bool
    pattern: Hashable

    def of_all(self, members: Ranks, *, everyone: bool) -> Step:
        """The step of all ``members``."""
        return Step(
            source=members,
            destination=peers(members, self.radix, self.stride, self.shift),
            begin=_tiled(self.begin, len(members)),
            end=_tiled(self.end, len(members)),
            reduce=self.reduce,
            pattern=self.pattern,
            everyone=everyone,
        )


def peers(values: NDArray[Number], radix: int, stride: int, shift: int) -> NDArray[Number]:
    """For each place the value of the place ``shift`` strides further in its group of ``radix``."""
    groups = values.reshape(-1, radix, stride)
    found = np.empty_like(groups)
    found[:, : radix - shift] = groups[:, shift:]
    found[:, radix - shift :] = groups[:, :shift]
    return found.ravel()


def _tiled(values: Ranks, length: int) -> Ranks:
    """The values again and again."""
    return np.broadcast_to(values, (length // len(values), len(values))).reshape(length)
