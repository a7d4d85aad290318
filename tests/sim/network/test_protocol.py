"""Software seconds of messages: regimes and copies, one message and many alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.machine.load import load_machine
from sim.network.protocol import Protocol

PROTOCOL = Protocol(
    eager_limit_bytes=4096,
    eager_latency_seconds=4e-6,
    rendezvous_latency_seconds=33e-6,
    eager_seconds_per_byte=0.5e-9,
    copy_seconds_per_byte=1e-9,
    copy_limit_bytes=500_000,
    message_seconds=2e-6,
)


@pytest.mark.parametrize(
    ("size", "seconds"), [(0, 6e-6), (4000, 8e-6), (4096, 39.096e-6), (500_000, 535e-6), (500_001, 35e-6)]
)
def test_the_handshake_begins_at_the_limit(size: int, seconds: float) -> None:
    assert PROTOCOL.seconds(size) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("sizes", [[], [7], [0, 1, 4095], [4096, 10**7], [600_000, 10**7], [1, 4095, 4096, 12345, 0]])
@pytest.mark.parametrize("copy", [0.0, 1e-9])
@pytest.mark.parametrize(("segment", "in_flight"), [(None, 1), (1000, 1), (8192, 4)])
def test_many_messages_cost_what_each_does(sizes: list[int], copy: float, segment: int | None, in_flight: int) -> None:
    protocol = replace(PROTOCOL, copy_seconds_per_byte=copy, segment_bytes=segment, in_flight=in_flight)
    found = protocol.latencies(np.array(sizes, dtype=np.int64))
    assert found.tolist() == [protocol.seconds(size) for size in sizes]


def test_segments_pay_the_latency_once_each_or_once_for_all_in_flight() -> None:
    plain = replace(PROTOCOL, copy_seconds_per_byte=0.0, message_seconds=0.0, gap_seconds=6e-6, segment_bytes=10**5)
    assert plain.seconds(10**5) == pytest.approx(33e-6, rel=1e-12)
    assert plain.seconds(10**6) == pytest.approx(330e-6, rel=1e-12)
    assert plain.seconds(10**6 + 1) == pytest.approx(363e-6, rel=1e-12)
    assert replace(plain, in_flight=2).seconds(10**6) == pytest.approx(87e-6, rel=1e-12)


def test_the_machines_own_handshake_is_what_messages_one_after_the_other_say() -> None:
    """Twice 4.3 us, then 10.95 and 9.35 us of work at the two ends."""
    network = load_machine("sunway_taihulight").network
    assert Protocol.of(network).seconds(4096) == pytest.approx(28.9e-6, rel=1e-12)
    assert Protocol.of(network).seconds(2048) == pytest.approx(4.3e-6 + 2048 * 1.78e-9, rel=1e-12)
