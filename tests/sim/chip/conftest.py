"""The chip that the tests run on."""

from __future__ import annotations

import pytest

from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec


@pytest.fixture(scope="session")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor
