"""What the steps of each algorithm add up to, and what they send."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim.machine.load import load_machine
from sim.machine.network_spec import NetworkSpec
from sim.network.allreduce import ALGORITHMS
from sim.network.butterfly import stages, usable_ranks
from sim.network.collectives import collective
from sim.network.schedule import Schedule, execute
from sim.network.topology import Topology

BUTTERFLIES = ("halving_doubling", "halving_doubling_far")

counts = st.one_of(
    st.integers(1, 64),
    st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128, 256]),
    st.sampled_from([2, 3, 5, 7, 11, 13, 17, 31, 61, 97, 127, 131, 251]),
    st.sampled_from([5, 10, 20, 40, 80, 160, 320]),
)


@cache
def network(supernode: int) -> NetworkSpec:
    return load_machine("sunway_taihulight", [f"network.topology.supernode_nodes={supernode}"]).network


def schedule_of(algorithm: str, ranks: int, *, elements: int, supernode: int = 256) -> Schedule:
    topology = Topology(network(supernode), nodes=ranks)
    return collective("allreduce", algorithm, topology=topology, elements=elements)


def sent(schedule: Schedule) -> NDArray[np.int64]:
    """Elements each rank sends."""
    total = np.zeros(schedule.ranks, dtype=np.int64)
    for step in schedule.steps():
        total[step.source] += step.end - step.begin
    return total


@pytest.mark.numeric
@settings(max_examples=40, deadline=None)
@given(
    algorithm=st.sampled_from(sorted(ALGORITHMS)),
    ranks=counts,
    elements=st.integers(0, 400),
    supernode=st.sampled_from([256, 32, 7]),
    seed=st.integers(0, 2**32 - 1),
)
def test_sum_over_ranks(algorithm: str, ranks: int, elements: int, supernode: int, seed: int) -> None:
    schedule = schedule_of(algorithm, ranks, elements=elements, supernode=supernode)
    values = np.random.default_rng(seed).integers(-(2**40), 2**40, (ranks, elements))
    before = values.copy()
    expected = np.broadcast_to(values.sum(axis=0), values.shape)
    np.testing.assert_array_equal(execute(schedule, values), expected)
    np.testing.assert_array_equal(values, before)


@pytest.mark.numeric
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize(
    "ranks", [1, 2, 3, 5, 64, 97, *(pytest.param(each, marks=pytest.mark.slow) for each in (160, 320))]
)
def test_all_ranks_hold_the_same_floats(algorithm: str, ranks: int) -> None:
    """Training stays in step only if the sums are equal to the last bit on every rank."""
    values = np.random.default_rng(ranks).standard_normal((ranks, 331))
    found = execute(schedule_of(algorithm, ranks, elements=331, supernode=32), values)
    np.testing.assert_array_equal(found, np.broadcast_to(found[0], found.shape))
    np.testing.assert_allclose(found[0], values.sum(axis=0), rtol=0, atol=1e-12)


@settings(max_examples=150, deadline=None)
@given(
    algorithm=st.sampled_from(sorted(ALGORITHMS)),
    ranks=counts,
    elements=st.integers(0, 5000),
    supernode=st.sampled_from([256, 32, 7]),
)
def test_one_message_out_and_one_in(algorithm: str, ranks: int, elements: int, supernode: int) -> None:
    patterns: dict[object, tuple[bytes, bytes]] = {}
    for step in schedule_of(algorithm, ranks, elements=elements, supernode=supernode).steps():
        assert len(step.source) > 0
        assert len(step.source) == len(step.destination) == len(step.begin) == len(step.end)
        for side in (step.source, step.destination):
            assert np.bincount(side, minlength=ranks).max() == 1
            assert len(np.bincount(side, minlength=ranks)) == ranks
        assert (step.source != step.destination).all()
        assert (step.begin >= 0).all()
        assert (step.begin <= step.end).all()
        assert (step.end <= elements).all()
        ends = step.source.tobytes(), step.destination.tobytes()
        assert patterns.setdefault(step.pattern, ends) == ends


@pytest.mark.parametrize("algorithm", [*BUTTERFLIES, "ring"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 6, 7, 64, 105, 160, 320, 1024, 2560])
@pytest.mark.parametrize("share", [1, 3])
def test_least_possible_traffic(algorithm: str, ranks: int, share: int) -> None:
    """2 (p - 1) / p of the elements out of every rank, when p divides them."""
    found = sent(schedule_of(algorithm, ranks, elements=share * ranks))
    np.testing.assert_array_equal(found, 2 * (ranks - 1) * share)


@pytest.mark.parametrize("algorithm", BUTTERFLIES)
@settings(deadline=None)
@given(ranks=st.integers(1, 400).filter(lambda ranks: usable_ranks(ranks) == ranks), elements=st.integers(0, 10**9))
def test_traffic_of_uneven_parts(algorithm: str, ranks: int, elements: int) -> None:
    assert sent(schedule_of(algorithm, ranks, elements=elements)).sum() == 2 * (ranks - 1) * elements


@pytest.mark.numeric
@settings(deadline=None)
@given(power=st.integers(0, 6), elements=st.integers(0, 50), seed=st.integers(0, 2**32 - 1))
def test_doubling_adds_as_the_tree_does(power: int, elements: int, seed: int) -> None:
    """Both add neighbours first, then pairs of pairs: equal to the last bit for powers of two."""
    values = np.random.default_rng(seed).standard_normal((2**power, elements))
    doubling = execute(schedule_of("recursive_doubling", 2**power, elements=elements), values)
    tree = execute(schedule_of("binomial_tree", 2**power, elements=elements), values)
    np.testing.assert_array_equal(doubling, tree)


@pytest.mark.parametrize(
    ("ranks", "usable"), [(1, 1), (11, 10), (13, 12), (131, 128), (160, 160), (251, 250), (40960, 40960)]
)
def test_usable_ranks(ranks: int, usable: int) -> None:
    assert usable_ranks(ranks) == usable


@pytest.mark.parametrize("far_first", [False, True])
def test_stages_of_the_whole_machine(far_first: bool) -> None:
    """163,840 = 2^15 · 5 without folding; near first begins between neighbours."""
    plan = stages(ranks=163840, far_first=far_first)
    radices, strides = [stage.radix for stage in plan], [stage.stride for stage in plan]
    near = [*(2**power for power in range(15)), 2**15]
    assert sorted(radices) == [2] * 15 + [5]
    assert strides == (near[::-1] if far_first else near)
    assert radices[0 if far_first else -1] == 5
    assert plan[-1].width == 1


@pytest.mark.parametrize("shape", [(3, 5), (4, 4), (20,)])
def test_values_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"ring: expected \(4, 5\)"):
        execute(schedule_of("ring", 4, elements=5), np.zeros(shape))
