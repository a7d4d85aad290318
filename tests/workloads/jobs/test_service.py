"""Requests that wait for nodes and are answered in batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.jobs.batch_queue import BatchServer, answer_all
from workloads.jobs.batch_queue_reference import serve
from workloads.jobs.service import Service, serve_poisson, serve_recorded

SERVER = BatchServer(sizes=(1, 4), seconds=(1.0, 2.0))


def service(server: BatchServer, replicas: int = 1, *, travel: float = 0.0) -> Service:
    return Service(
        server=server,
        replicas=replicas,
        inward_seconds=travel,
        outward_seconds=2 * travel,
        link_requests_per_second=1e9,
    )


def test_a_free_node_begins_at_once_and_a_busy_one_takes_all_that_wait() -> None:
    done = answer_all(SERVER, np.array([0.0, 0.25, 0.5, 10.0]))
    # the first alone; the two that came meanwhile together, filled up to four; the last alone
    assert done.finish.tolist() == [1.0, 3.0, 3.0, 11.0]
    assert done.batches.tolist() == [1, 2, 1]
    assert done.busy_seconds == 4.0


def test_a_batch_may_wait_until_it_is_full_or_the_oldest_has_waited_enough() -> None:
    patient = BatchServer(sizes=(1, 2), seconds=(1.0, 1.0), max_wait_seconds=5.0)
    assert answer_all(patient, np.array([0.0, 3.0])).finish.tolist() == [4.0, 4.0]
    assert answer_all(patient, np.array([0.0, 7.0])).finish.tolist() == [6.0, 13.0]


def test_no_batch_is_larger_than_the_largest() -> None:
    done = answer_all(SERVER, np.zeros(9))
    assert done.batches.tolist() == [4, 4, 1]
    assert done.finish.tolist() == [2.0] * 4 + [4.0] * 4 + [5.0]


def test_sizes_have_to_rise() -> None:
    with pytest.raises(ValueError, match="have to rise"):
        BatchServer(sizes=(4, 1), seconds=(1.0, 2.0))


@pytest.mark.timing
@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.integers(0, 40), min_size=1, max_size=60),
    seconds=st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30)),
    wait=st.integers(0, 50),
    replicas=st.integers(1, 4),
    travel=st.integers(0, 9),
)
def test_the_recurrence_equals_processes_that_wait(
    gaps: list[int], seconds: tuple[int, int, int], wait: int, replicas: int, travel: int
) -> None:
    """Times are whole numbers of 1/8 s apart, odd ones for waiting, so that sums are exact and ties are rare."""
    server = BatchServer(
        sizes=(1, 3, 8),
        seconds=tuple(sorted(each / 8 + 1 / 64 for each in seconds)),
        max_wait_seconds=wait / 8 + 1 / 1024,
    )
    arrivals = np.cumsum(gaps) / 8 + np.arange(len(gaps)) / 2**20
    found = serve_recorded(service(server, replicas, travel=travel / 8), arrivals)
    expected = np.array(serve(server, (arrivals + travel / 8).tolist(), replicas=replicas)) + travel / 4
    order = np.concatenate([np.arange(first, len(arrivals), replicas) for first in range(replicas)])
    assert np.array_equal(found.latencies, (expected - arrivals)[order])


@pytest.mark.timing
def test_one_node_without_batches_waits_as_queueing_theory_says() -> None:
    """M/D/1 at load r: mean wait r / (2 (1 - r)) services (Pollaczek and Khinchine)."""
    server = BatchServer(sizes=(1,), seconds=(1.0,))
    found = serve_poisson(service(server), rate=0.7, requests=400_000, seed=1)
    assert found is not None
    assert found.latencies.mean() == pytest.approx(1.0 + 0.7 / (2 * 0.3), rel=0.02)
    assert found.utilisation == pytest.approx(0.7, rel=0.01)


@pytest.mark.timing
def test_one_node_of_a_stream_handed_out_in_turn_stands_for_all() -> None:
    """The whole service, request by request, has the latencies of the node that is simulated."""
    nodes = 5
    whole = service(BatchServer(sizes=(1, 4), seconds=(1.0, 1.5)), nodes)
    one = serve_poisson(whole, rate=6.0, requests=100_000, seed=3)
    arrivals = np.cumsum(np.random.default_rng(4).exponential(1 / 6.0, 300_000))
    every = serve_recorded(whole, arrivals)
    assert one is not None
    for share in (50, 99):
        assert one.percentile(share) == pytest.approx(every.percentile(share), rel=0.02)
    assert one.mean_batch == pytest.approx(every.mean_batch, rel=0.01)
    assert one.utilisation == pytest.approx(every.utilisation, rel=0.01)


def test_more_requests_than_it_answers_have_no_latency() -> None:
    assert serve_poisson(service(SERVER), rate=2.0, requests=100, seed=0) is None
    assert service(SERVER, 3).requests_per_second == 6.0
