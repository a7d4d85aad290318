"""A dynamical core does what its equations say, on any grid of processes and in the tiles."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from nnlib.kernels.grids.weather_step import Dynamics, WeatherStep, stepped
from nnlib.kernels.simulation import simulate
from sim.network.topology import Topology
from tests.workloads.hpc.lu_cases import clock, machine
from workloads.datasets.storms import Storms
from workloads.hpc.field_windows import time_windows
from workloads.hpc.numerics import Floats
from workloads.hpc.process_grid import near_square
from workloads.hpc.weather import Grid, Weather, time_weather

DYNAMICS = Dynamics(step=0.04, wave_speed=1.0, coriolis=0.1)


def weather(
    globe: Floats, grid: Grid = (1, 1), *, dynamics: Dynamics = DYNAMICS, numerics: Literal["layer", "tile"] = "layer"
) -> Weather:
    rows, columns, channels = globe.shape
    kernel = WeatherStep(rows // grid[0], columns // grid[1], channels, dynamics)
    return Weather(kernel, grid, machine().processor, globe, numerics)


@pytest.mark.numeric
def test_a_wind_of_a_point_a_step_carries_fields_as_they_are() -> None:
    """At a Courant number of 1 the difference against the wind is exact."""
    random = np.random.default_rng(0)
    globe = random.integers(-8, 8, (6, 10, 5)).astype(np.float64)
    globe[..., 0], globe[..., 1], globe[..., 2] = 1.0, 0.0, 0.0
    core = weather(globe, dynamics=Dynamics(step=1.0, wave_speed=0.0, coriolis=0.0))
    for _ in range(3):
        core.step()
    np.testing.assert_array_equal(core.whole(), np.roll(globe, 3, axis=1))


@pytest.mark.numeric
def test_a_small_wave_is_that_of_the_linear_equations() -> None:
    """A plane wave of winds and pressure grows by the scheme's own matrix each step; products of it do not count."""
    columns, number, steps, small = 16, 2, 20, 1e-9
    turn = 2 * np.pi * number / columns
    dynamics = Dynamics(step=0.2, wave_speed=0.5, coriolis=0.3)
    globe = np.zeros((4, columns, 3))
    globe[..., 2] = small * np.cos(turn * np.arange(columns))
    core = weather(globe, dynamics=dynamics)
    for _ in range(steps):
        core.step()
    damped = 1 + dynamics.step * dynamics.wave_speed * (np.cos(turn) - 1)
    slope = -1j * dynamics.step * dynamics.wave_speed * np.sin(turn)
    rotation = dynamics.step * dynamics.coriolis
    matrix = np.array([[damped, rotation, slope], [-rotation, damped, 0], [slope, 0, damped]])
    amplitude = np.linalg.matrix_power(matrix, steps) @ np.array([0, 0, small])
    expected = np.real(amplitude * np.exp(1j * turn * np.arange(columns))[:, None])
    np.testing.assert_allclose(core.whole()[1], expected, atol=1e-6 * small)
    assert np.abs(expected[:, 1]).max() > 0.01 * small  # the rotation is in it


@pytest.mark.numeric
@pytest.mark.parametrize(("grid", "numerics"), [((2, 4), "layer"), ((1, 2), "layer"), ((3, 2), "tile")])
def test_any_number_of_processes_computes_the_same(grid: Grid, numerics: Literal["layer", "tile"]) -> None:
    globe = np.random.default_rng(1).standard_normal((24, 32, 5))
    alone, shared = weather(globe), weather(globe, grid, numerics=numerics)
    for _ in range(5):
        alone.step()
        shared.step()
    np.testing.assert_array_equal(shared.whole(), alone.whole())
    assert np.abs(alone.whole() - globe).max() > 0.1
    sides = 5 * 2 * 5 * 8 * (24 * grid[1] * (grid[1] > 1) + 32 * grid[0] * (grid[0] > 1))
    assert shared.sent["bytes"] == sides


@pytest.mark.numeric
def test_storms_stay_storms() -> None:
    """Generated fields stay finite and calm down a little under the scheme's diffusion."""
    globe = Storms(height=48, width=96, seed=2).generate(np.array([0])).fields[0]
    core = weather(globe, (2, 2))
    for _ in range(100):
        core.step()
    before, after = globe.std(axis=(0, 1)), core.whole().std(axis=(0, 1))
    assert (after < before).all()
    assert (after > 0.1 * before).all()
    np.testing.assert_array_equal(core.windows(3, (1, 2))[1], core.whole()[24:, 72:])
    core.numerics = "tile"
    np.testing.assert_array_equal(core.windows(3, (2, 1))[0], core.whole()[24:36, 48:])


@pytest.mark.numeric
def test_rows_a_few_at_a_time_are_all_rows_at_once() -> None:
    before = np.random.default_rng(3).standard_normal((203, 102, 16))
    after = np.zeros_like(before)
    WeatherStep(201, 100, 16, DYNAMICS).reference({"before": before, "after": after})
    np.testing.assert_array_equal(after[1:-1, 1:-1], stepped(before, DYNAMICS))
    assert not after[0].any()
    assert not after[-1].any()


def test_parts_must_make_up_the_globe() -> None:
    kernel = WeatherStep(4, 4, 3, DYNAMICS)
    with pytest.raises(ValueError, match="are not"):
        Weather(kernel, (1, 2), machine().processor, np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="two winds and a pressure"):
        WeatherStep(4, 4, 2, DYNAMICS)


@pytest.mark.timing
def test_a_step_is_bound_by_memory() -> None:
    timing = simulate(WeatherStep(96, 96, 16, DYNAMICS), processor=machine().processor)
    seconds = timing.ticks / 1000 / machine().processor.clock_hertz
    assert 20e9 < (timing.get_bytes + timing.put_bytes) / seconds < 26.9e9


@pytest.mark.timing
def test_fields_are_cut_at_the_rate_of_memory() -> None:
    """Each number read once and written once, a launch for each field; they must divide the part."""
    kernel = WeatherStep(96, 144, 16, DYNAMICS)
    seconds = time_windows(kernel, (2, 3), clock=clock(), persistent_threads=True) / 1e12
    seconds -= 6 * machine().processor.group_sync_seconds
    assert 20e9 < 2 * 8 * 96 * 144 * 16 / seconds < 28e9
    with pytest.raises(ValueError, match="do not divide"):
        time_windows(kernel, (5, 3), clock=clock(), persistent_threads=True)


@pytest.mark.timing
def test_neighbours_cost_little_and_more_between_nodes() -> None:
    kernel = WeatherStep(192, 192, 16, DYNAMICS)

    def timed(nodes: int) -> tuple[int, int]:
        topology = Topology(network=machine().network, nodes=nodes, ranks_per_node=4)
        found = time_weather(
            kernel, grid=near_square(topology.ranks), topology=topology, clock=clock(), persistent_threads=True
        )
        return found.compute, found.halo_exchange

    (compute, alone), (same, many) = timed(1), timed(4096)
    assert compute == same
    assert 0 < alone < many < compute
