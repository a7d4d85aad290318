"""Rates that follow each change are those of sharing everything out anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.network import fair_shares
from sim.network.fair_shares import FairShares
from sim.network.max_min import max_min_rates

pytestmark = pytest.mark.timing


@settings(max_examples=25, deadline=None)
@given(
    flows=st.integers(1, 40),
    links=st.integers(1, 40),
    width=st.integers(1, 4),
    at_once=st.integers(1, 6),
    arrays=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_after_every_change(flows: int, links: int, width: int, at_once: int, arrays: bool, seed: int) -> None:
    """Flows come and go at random; unequal capacities, so that fullness moves on from link to link."""
    random = np.random.default_rng(seed)
    capacity = random.choice([1.0, 2.0, 3.0, 7.5], links)
    paths = [random.permutation(links)[: random.integers(1, width + 1)].tolist() for _ in range(flows)]
    padded = np.array([path + [-1] * (width - len(path)) for path in paths])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fair_shares, "FEW", 2 if arrays else 96)
        shares = FairShares(paths, capacity)
        active: set[int] = set()
        rate = np.zeros(flows)
        for _ in range(30):
            toggled = random.permutation(flows)[:at_once].tolist()
            ended = [flow for flow in toggled if flow in active]
            begun = [flow for flow in toggled if flow not in active]
            active = active - set(ended) | set(begun)
            for flow, before in shares.change(begun=begun, ended=ended):
                assert before == (0.0 if flow in begun else rate[flow])
                rate[flow] = shares.rate[flow]
            rate[ended] = 0.0
            np.testing.assert_array_equal(shares.rate, rate)
            present = sorted(active)
            np.testing.assert_allclose(rate[present], max_min_rates(padded[present], capacity), rtol=1e-11)


def test_a_far_flow_gets_what_is_left_over() -> None:
    """On links of 2, 3 and 9 bytes per second a flow each, and one over every two neighbours."""
    shares = FairShares([[0], [0, 1], [1, 2], [2]], np.array([2.0, 3.0, 9.0]))
    shares.change(begun=[0, 1, 2, 3], ended=[])
    assert shares.rate == [1.0, 1.0, 2.0, 7.0]
    # without the first, the second is held by its other link, and the third and fourth by what it takes there
    assert sorted(shares.change(begun=[], ended=[0])) == [(1, 1.0), (2, 2.0), (3, 7.0)]
    assert shares.rate == [0.0, 1.5, 1.5, 7.5]
