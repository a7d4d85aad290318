"""Reading and writing of many processes at once: who holds them back, in numbers."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from sim.machine.load import load_machine
from sim.machine.site_spec import StorageSpec
from sim.storage.access import Access, AccessTiming, access
from sim.storage.sharing import Readers, finish_seconds
from sim.storage.striping import ONE_ARRAY, Striping

STORAGE = load_machine("sunway_taihulight").storage
SMALL = StorageSpec(
    bytes=10**9,
    bytes_per_second=400.0,
    arrays=4,
    drives_per_array=5,
    drive_latency_seconds=0.5,
    forwarding_nodes=3,
    forwarding_bytes_per_second=50.0,
    process_bytes_per_second=20.0,
    metadata_servers=2,
    open_seconds=0.25,
)
FOUR = Striping(stripes=4, stripe_bytes=100)


def timed(storage: StorageSpec = SMALL, striping: Striping = FOUR, **request: Any) -> AccessTiming:
    return access(storage, Access(striping=striping, **request))


def test_one_process_gets_what_a_process_gets() -> None:
    found = timed(processes=1, size=100)
    assert found.seconds == 0.5 + 100 / 20
    assert found.limit == "process"
    assert found.bytes_per_second == pytest.approx(100 / 5.5)


def test_many_processes_share_the_forwarding_nodes() -> None:
    found = timed(processes=15, size=100)
    assert found.limit == "forwarding"
    assert found.limits["forwarding"] == 15 * 100 / 150
    assert found.seconds == pytest.approx(0.5 + 10.0)  # 10 B/s each


def test_one_array_is_shared_by_all_and_stripes_relieve_it() -> None:
    fast = replace(SMALL, forwarding_bytes_per_second=1e9)
    assert timed(fast, ONE_ARRAY, processes=20, size=100).seconds == pytest.approx(0.5 + 20 * 100 / 100)
    assert timed(fast, ONE_ARRAY, processes=20, size=100).limit == "arrays"
    assert timed(fast, processes=20, size=100).seconds == pytest.approx(0.5 + 100 / 20)


def test_small_files_wait_for_their_names() -> None:
    found = timed(processes=60, size=10, places=10, opens=10)
    assert found.limit == "metadata"
    assert found.seconds == 60 * 10 * 0.25 / 2
    assert timed(processes=60, size=10, places=10).limit != "metadata"


def test_no_bytes_take_no_time() -> None:
    assert timed(processes=60, size=0).seconds == 0
    assert timed(processes=60, size=0).bytes_per_second == 0


@pytest.mark.parametrize("processes", [2, 12, 40])
def test_random_places_are_bounded_by_what_a_simulation_of_them_takes(processes: int) -> None:
    """Each place on an array drawn at random: never faster than the bound, and near it, if drives do not queue."""
    storage = replace(SMALL, forwarding_bytes_per_second=1e9, drives_per_array=10**6)
    bound = timed(storage, processes=processes, size=2000, places=100).seconds
    random = Random(1)
    readers = [Readers(pieces=tuple((random.randrange(4), 20) for _ in range(100))) for _ in range(processes)]
    simulated = max(finish_seconds(readers, array_rate=100.0, process_rate=20.0, latency=0.5))
    assert bound <= simulated * (1 + 1e-12)
    assert simulated < 1.25 * bound


def test_too_many_different_pieces_are_bounded_and_the_bound_is_near() -> None:
    """Of 5,001 processes each has its own pieces, 15,003 of them; 4,096 are 12,288 at most and still exact here."""
    striping = Striping(stripes=32, stripe_bytes=256_000_000)
    exact, bounded = (timed(STORAGE, striping, processes=count, size=24_000_001) for count in (3300, 8192))
    assert (exact.bounded, bounded.bounded) == (False, True)
    assert bounded.seconds == max(bounded.limits.values())
    assert exact.seconds == pytest.approx(max(exact.limits.values()), rel=0.02)
    assert bounded.bytes_per_second == pytest.approx(64e9, rel=0.03)


def test_processes_apart_have_all_arrays_even_if_they_read_little() -> None:
    """20 that read 10 bytes behind one another are on two arrays, apart on all four, five on each."""
    fast = replace(SMALL, forwarding_bytes_per_second=1e9, process_bytes_per_second=1e9)
    assert timed(fast, processes=20, size=10).seconds == pytest.approx(0.5 + 100 / 100)
    apart = timed(fast, processes=20, size=10, apart=True)
    assert apart.seconds == pytest.approx(0.5 + 5 * 10 / 100)
    assert apart.limits["arrays"] == pytest.approx(0.5 + 5 * 10 / 100)
    assert timed(fast, processes=18, size=10, apart=True) != apart
    assert timed(fast, processes=18, size=10, apart=True).seconds == apart.seconds


def test_more_stripes_than_arrays_are_all_arrays() -> None:
    assert timed(striping=Striping(stripes=99, stripe_bytes=100), processes=7, size=50) == timed(processes=7, size=50)


def test_the_machines_own_storage_at_full_scale() -> None:
    """All nodes read 192 MB each: 32 arrays of 2 GB/s give 64 GB/s, all 144 what was published, 288 GB/s."""
    for stripes, rate in ((32, 64e9), (144, 288e9)):
        striping = Striping(stripes=stripes, stripe_bytes=256_000_000)
        found = timed(STORAGE, striping, processes=40_960, size=192e6)
        assert found.limit == "arrays"
        assert found.bytes_per_second == pytest.approx(rate, rel=0.02)
