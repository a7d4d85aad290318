"""What neighbours do alike in a step: groups of ranks, as far apart as others, that send around their group."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Ranks = NDArray[np.int64]
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


def peers(values: NDArray[Number], radix: int, stride: int, shift: int) -> NDArray[Number]:
    """For each place the value of the place ``shift`` strides further in its group of ``radix``."""
    groups = values.reshape(-1, radix, stride)
    found = np.empty_like(groups)
    found[:, : radix - shift] = groups[:, shift:]
    found[:, radix - shift :] = groups[:, :shift]
    return found.ravel()
