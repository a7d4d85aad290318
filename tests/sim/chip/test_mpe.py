"""The MPE's own work."""

from __future__ import annotations

import pytest

from sim.chip.mpe import copy_seconds, serial_seconds
from sim.machine.spec import ProcessorSpec


def test_a_copy_and_a_scalar_loop_take_what_was_measured(processor: ProcessorSpec) -> None:
    assert copy_seconds(processor, nbytes=9_900_000) == pytest.approx(1e-3)
    assert serial_seconds(processor, nbytes=10**6) == pytest.approx(3.36e-3)
