"""The pace of messages that follow one another, by what sets it."""

from __future__ import annotations

import pytest

from sim.machine.load import load_machine
from sim.network.message_stream import message_seconds


@pytest.mark.timing
@pytest.mark.parametrize(
    ("size", "both_ways", "outside", "microseconds"),
    [
        (0, False, None, 2.64),
        (2048, False, None, 2.64 + 2.048 * 1.12),
        (2048, True, None, 2.64 + 1.4 + 2.048 * 1.78),
        (4095, False, 1.62e9, 2.64 + 4.095 * 1.12),
        (4096, False, None, 10.95),
        (4096, True, None, 20.3),
        (10**6, False, None, 6.46 + 1000 / 5.95),
        (10**6, True, None, 12.92 + 2000 / 10.56),
        (10**6, False, 1.62e9, 6.46 + 1000 / 1.62),
        (10**6, True, 1.62e9, 6.46 + 1000 / 1.62),
        (65536, True, 6e9, 12.92 + 2 * 65.536 / 10.56),
    ],
)
def test_pace(size: int, both_ways: bool, outside: float | None, microseconds: float) -> None:
    """MPE, link or the way out of the supernode."""
    network = load_machine("sunway_taihulight").network
    found = message_seconds(network, size, both_ways=both_ways, outside_bytes_per_second=outside)
    assert found == pytest.approx(microseconds * 1e-6, rel=1e-9)
