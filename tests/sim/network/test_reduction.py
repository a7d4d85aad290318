"""Seconds of an addition: behind the message or under it, one message and many alike."""

from __future__ import annotations

import numpy as np
import pytest

from sim.machine.load import load_machine
from sim.network.choices import Adder
from sim.network.reduction import ReductionCost


def test_an_addition_under_the_transfer_leaves_its_excess() -> None:
    behind = ReductionCost(seconds_per_byte=2e-9, start_seconds=1e-6)
    under = ReductionCost(seconds_per_byte=2e-9, start_seconds=1e-6, overlapped=True)
    assert behind.seconds(1000, transfer_seconds=0.5e-6) == pytest.approx(3e-6, rel=1e-12)
    assert under.seconds(1000, transfer_seconds=0.5e-6) == pytest.approx(2.5e-6, rel=1e-12)
    assert under.seconds(1000, transfer_seconds=5e-6) == 1e-6


@pytest.mark.parametrize("overlapped", [False, True])
@pytest.mark.parametrize("start", [0.0, 3e-6])
@pytest.mark.parametrize("alone", [None, 3e-9])
@pytest.mark.parametrize("least", [0, 10**5])
def test_many_messages_cost_what_each_does(overlapped: bool, start: float, alone: float | None, least: int) -> None:
    cost = ReductionCost(
        seconds_per_byte=0.3e-9, start_seconds=start, overlapped=overlapped, alone_seconds_per_byte=alone
    )
    sizes, transfers = np.array([0, 8, 4096, 10**7]) + least, np.array([1e-6, 1e-9, 1e-6, 1e-3])
    found = cost.all_seconds(sizes, transfer_seconds=transfers)
    each = zip(sizes.tolist(), transfers.tolist(), strict=True)
    assert found.tolist() == [cost.seconds(size, transfer_seconds=transfer) for size, transfer in each]


def test_short_messages_are_added_without_a_launch() -> None:
    """Up to 22 us / (3.3 - 0.286 ns/B) = 7,300 B the MPE is through before the CPEs would be."""
    cost = ReductionCost.of(load_machine("sunway_taihulight").network, "core_group")
    assert cost.seconds(7000, transfer_seconds=0.0) == pytest.approx(7000 * 3.3e-9, rel=1e-9)
    assert cost.seconds(7500, transfer_seconds=0.0) == pytest.approx(22e-6 + 7500 * 0.286328e-9, rel=1e-4)


@pytest.mark.parametrize(
    ("by", "nanoseconds_per_byte", "microseconds"),
    [("mpe_scalar", 3.3, 0), ("mpe_simd", 1.68, 0), ("core_group", 3 * 4.75 / 128 + 0.175, 22), ("chip", 0.07158, 22)],
)
def test_who_adds(by: Adder, nanoseconds_per_byte: float, microseconds: float) -> None:
    """CPEs stream three lines for each that arrives, at the DMA engine's rate, and have to be launched."""
    cost = ReductionCost.of(load_machine("sunway_taihulight").network, by)
    assert cost.seconds_per_byte == pytest.approx(nanoseconds_per_byte * 1e-9, rel=1e-4)
    assert cost.start_seconds == pytest.approx(microseconds * 1e-6)
