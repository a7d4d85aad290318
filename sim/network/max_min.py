"""Max-min fair rates of flows over shared links."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

SAME = 1 - 1e-12
"""Shares that differ by less are equal: what is left of a link after subtractions is rounded."""


def max_min_rates(paths: Numbers, capacity: Floats) -> Floats:
    """The fair rate of each flow (flows,), bytes per second.

    ``paths``: numbers of the links each flow crosses, (flows, most links), filled up with -1; ``capacity`` of each link
    (links,). Links whose flows have no smaller share elsewhere are filled first, all such links at a time.
    """
    used, place = np.unique(paths, return_inverse=True)
    place = place.reshape(paths.shape)
    left = np.where(used < 0, np.inf, capacity[used])
    rate = np.zeros(len(paths))
    waiting = np.arange(len(paths))
    while len(waiting):
        at = place[waiting]
        load = np.bincount(at.ravel(), minlength=len(used))
        share = np.divide(left, load, out=np.full(len(used), np.inf), where=load > 0)
        least = share[at].min(axis=1)
        fewest = np.full(len(used), np.inf)
        np.minimum.at(fewest, at.ravel(), np.repeat(least, at.shape[1]))
        full = (load > 0) & (fewest >= share * SAME) & np.isfinite(share)
        fixed = full[at].any(axis=1)
        if not fixed.any():  # nothing but unlimited links
            rate[waiting] = np.inf
            break
        rate[waiting[fixed]] = least[fixed]
        taken = np.bincount(at[fixed].ravel(), weights=np.repeat(least[fixed], at.shape[1]), minlength=len(used))
        left = np.maximum(left - np.where(used < 0, 0.0, taken), 0.0)
        waiting = waiting[~fixed]
    return rate
