"""The MPE's own work."""

from __future__ import annotations

import pytest

from sim.chip.mpe import clear_seconds, copy_seconds
from sim.machine.spec import ProcessorSpec


def test_a_copy_takes_what_was_measured_and_clearing_half_of_it(processor: ProcessorSpec) -> None:
    assert copy_seconds(processor, nbytes=9_900_000) == pytest.approx(1e-3)
    assert clear_seconds(processor, nbytes=9_900_000) == pytest.approx(0.5e-3)
