"""Software seconds of messages: regimes and copies, one message and many alike."""

from __future__ import annotations

import numpy as np
import pytest

from sim.network.protocol import Protocol

PROTOCOL = Protocol(
    eager_limit_bytes=4096,
    eager_latency_seconds=4e-6,
    rendezvous_latency_seconds=33e-6,
    copy_seconds_per_byte=1e-9,
    message_seconds=2e-6,
)


@pytest.mark.parametrize(("size", "seconds"), [(0, 6e-6), (4095, 10.095e-6), (4096, 39.096e-6), (10**6, 1.035e-3)])
def test_the_handshake_begins_at_the_limit(size: int, seconds: float) -> None:
    assert PROTOCOL.seconds(size) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("sizes", [[], [0, 1, 4095], [4096, 10**7], [1, 4095, 4096, 12345, 0]])
def test_many_messages_cost_what_each_does(sizes: list[int]) -> None:
    found = PROTOCOL.latencies(np.array(sizes, dtype=np.int64))
    assert found.tolist() == [PROTOCOL.seconds(size) for size in sizes]
