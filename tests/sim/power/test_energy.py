"""Energy by component: the published power at full load, and each part in numbers."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.machine.load import load_machine
from sim.power.energy import Activity, energy, full_load, full_load_watts, idle_watts

MACHINE = load_machine("sunway_taihulight")


def test_all_nodes_at_full_load_draw_what_was_published() -> None:
    """15.371 MW, 375 W per node with its share of the network; the chip's part is its 250 W."""
    assert 40_960 * full_load_watts(MACHINE) == pytest.approx(15.371e6, rel=1e-5)
    parts = energy(MACHINE, full_load(MACHINE)).joules
    assert sum(parts[name] for name in ("chip_static", "cpe", "mpe", "dma")) == pytest.approx(250, rel=1e-12)
    assert parts["memory"] == pytest.approx(48, rel=1e-12)
    assert parts["interface"] + parts["switches"] == pytest.approx(24, rel=1e-12)
    assert parts["storage"] == 0


def test_an_idle_node_draws_its_static_power() -> None:
    assert idle_watts(MACHINE) == pytest.approx((70 + 8 + 10 + 8) * 1.16543, rel=1e-12)


@pytest.mark.parametrize(
    ("done", "part", "joules"),
    [
        ({"compute_seconds": 2.0}, "cpe", 256 * 0.5 * 2),
        ({"wait_seconds": 2.0}, "cpe", 256 * 0.15 * 2),
        ({"mpe_seconds": 2.0}, "mpe", 4 * 4 * 2),
        ({"memory_bytes": 136.4e9}, "dma", 36),
        ({"memory_bytes": 136.4e9}, "memory", 40),
        ({"network_bytes": 10.56e9 / 2}, "interface", 5 / 2),
        ({"network_bytes": 10.56e9 / 2}, "switches", 1 / 2),
        ({"storage_bytes": 288e9 / 4}, "storage", 260e3 / 4),
    ],
)
def test_each_part_in_numbers(done: dict[str, float], part: str, joules: float) -> None:
    """Without any time passing there is no static power to add."""
    found = energy(MACHINE, Activity(seconds=0.0, **done), nodes=3).joules
    assert found[part] == pytest.approx(3 * joules, rel=1e-12)
    lost = sum(value for name, value in found.items() if name not in ("conversion", "storage"))
    assert found["conversion"] == pytest.approx(0.16543 * lost, rel=1e-12, abs=1e-12)


AMOUNTS = st.lists(st.floats(0, 1e12), min_size=7, max_size=7)


@given(one=AMOUNTS, other=AMOUNTS)
def test_energies_add_up(one: list[float], other: list[float]) -> None:
    """What is done one after the other takes the energy of both."""
    names = [field.name for field in fields(Activity)]
    both = [a + b for a, b in zip(one, other, strict=True)]
    first, second, together = (
        energy(MACHINE, Activity(**dict(zip(names, each, strict=True)))) for each in (one, other, both)
    )
    assert together.total_joules == pytest.approx(first.total_joules + second.total_joules, rel=1e-9)


def test_power_is_energy_over_time() -> None:
    found = energy(MACHINE, Activity(seconds=10.0))
    assert found.watts(10.0)["chip_static"] == pytest.approx(70, rel=1e-12)
