"""The recurrence of a pipeline against its simulation by messages, and against what is known of 1F1B."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workloads.parallel.pipeline_reference import RankPasses, simulate_pipeline, simulate_ranks
from workloads.parallel.pipeline_times import StageSeconds, pipeline_times

pytestmark = pytest.mark.timing

SECONDS = st.integers(0, 40).map(lambda number: number / 8)
STAGES = st.builds(StageSeconds, forward=SECONDS, backward=SECONDS, accumulate=SECONDS, send=SECONDS, give_back=SECONDS)


@settings(max_examples=100)
@given(st.lists(STAGES, min_size=1, max_size=6), st.integers(1, 9))
def test_equal_to_the_simulation(stages: list[StageSeconds], micro_batches: int) -> None:
    """To the bit: both only add and compare."""
    found = pipeline_times(stages, micro_batches=micro_batches)
    assert found == simulate_pipeline(stages, micro_batches=micro_batches)


LAUNCHES = st.lists(SECONDS, min_size=1, max_size=3).map(tuple)


@settings(max_examples=40)
@given(st.data())
def test_late_ranks_of_every_replica_are_those_of_a_simulation_of_each(data: st.DataObject) -> None:
    """Replicas as arrays against a process for every rank of every replica; tensor ranks wait for the last of them."""
    count, ways, replicas = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)))
    micro_batches = data.draw(st.integers(1, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    late = rng.integers(0, 64, (replicas, count, ways, 2)) / 16
    parts = [data.draw(st.tuples(LAUNCHES, LAUNCHES, SECONDS, SECONDS, SECONDS, SECONDS)) for _ in range(count)]
    one_replica = [
        [
            RankPasses(
                forward=forward,
                backward=backward,
                exchange=exchange,
                accumulate=accumulate,
                send=send,
                give_back=give_back,
                late=tuple(map(tuple, late[replica, stage].tolist())),
            )
            for stage, (forward, backward, exchange, accumulate, send, give_back) in enumerate(parts)
        ]
        for replica in range(replicas)
    ]
    slowest = late.max(axis=2)
    together = [
        StageSeconds(
            forward=each.seconds(each.forward) + slowest[:, stage, 0],
            backward=each.seconds(each.backward) + slowest[:, stage, 1],
            accumulate=each.accumulate,
            send=each.send,
            give_back=each.give_back,
        )
        for stage, each in enumerate(one_replica[0])
    ]
    found = pipeline_times(together, micro_batches=micro_batches)
    expected = [simulate_ranks(stages, micro_batches=micro_batches) for stages in one_replica]
    np.testing.assert_array_equal(np.stack(found.ends, axis=-1), expected)


@pytest.mark.parametrize(("stages", "parts"), [(1, 3), (2, 2), (4, 8), (8, 3), (16, 64)])
def test_the_bubble_of_equal_stages(stages: int, parts: int) -> None:
    """(p - 1)·(f + b) beside m·(f + b) (Narayanan et al. 2019)."""
    times = pipeline_times([StageSeconds(forward=1.0, backward=2.0)] * stages, micro_batches=parts)
    assert times.ends[0] == 3.0 * (parts + stages - 1)
    assert times.busy == (3.0 * parts,) * stages
    assert Fraction(times.ends[0] - times.busy[0]) / Fraction(times.ends[0]) == Fraction(stages - 1, parts + stages - 1)


def test_the_slowest_stage_sets_the_pace() -> None:
    fast, slow = StageSeconds(forward=1.0, backward=1.0), StageSeconds(forward=2.0, backward=3.0)
    ends = [pipeline_times([fast, slow, fast], micro_batches=parts).ends[0] for parts in (20, 21)]
    assert ends[1] - ends[0] == 5.0


def test_messages_follow_one_another() -> None:
    """The second of two messages waits for the first: 1 + 4 + 4, and two passes of nothing behind."""
    first = StageSeconds(forward=1.0, backward=0.0, send=4.0)
    times = pipeline_times([first, StageSeconds(forward=0.0, backward=0.0)], micro_batches=2)
    assert times.ends == (9.0, 9.0)
