"""Kernels of programs that are no networks: what they compute in the tiles, in the time that they take without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nnlib.kernels.grids.weather_step import Dynamics, WeatherStep
from nnlib.kernels.kernel import InfeasiblePlan, Kernel
from nnlib.kernels.simulation import simulate
from nnlib.kernels.sparse.sparse_rows import COLOURS, PassKind, SparseRows, colour_places, neighbours
from sim.machine.load import load_machine
from tests.nnlib.kernels.tiles import check_tiles, relative_error
from tests.nnlib.kernels.waits import check_every_wait

PROCESSOR = load_machine("sunway_taihulight").processor
WEATHER = WeatherStep(12, 20, 5, Dynamics(step=0.05, wave_speed=0.7, coriolis=0.2))


def sparse_data(kernel: SparseRows) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(2)
    arrays: dict[str, NDArray[Any]] = {
        "coefficients": random.standard_normal((kernel.rows, 27)) + 3,
        "columns": neighbours(kernel.shape, kernel.colour),
        "x": random.standard_normal(kernel.padded),
        "b": random.standard_normal(kernel.rows),
        "out": np.full(kernel.rows, np.nan),
    }
    return {parameter.name: arrays[parameter.name] for parameter in kernel.parameters()}


@pytest.mark.numeric
@pytest.mark.parametrize("kind", ["smooth", "product", "residual"])
@pytest.mark.parametrize(("shape", "colour"), [((8, 6, 12), 0), ((4, 4, 2), 3), ((2, 18, 16), 7)])
def test_sparse_rows_in_the_tiles(kind: PassKind, shape: tuple[int, int, int], colour: int) -> None:
    kernel = SparseRows(kind, shape, colour)
    found = sparse_data(kernel)
    expected = {name: array.copy() for name, array in found.items()}
    kernel.reference(expected)
    timing = simulate(kernel, processor=PROCESSOR, data=found)
    for name, array in found.items():
        assert relative_error(array, expected[name]) <= 1e-12, name
    assert timing == simulate(kernel, processor=PROCESSOR)
    assert timing.flops == 2 * 27 * kernel.rows


@pytest.mark.numeric
def test_a_smoothed_row_is_solved() -> None:
    kernel = SparseRows("smooth", (4, 4, 4), 5)
    arrays = sparse_data(kernel)
    kernel.reference(arrays)
    product = (arrays["coefficients"] * arrays["x"].reshape(-1)[arrays["columns"]]).sum(axis=1)
    np.testing.assert_allclose(product, arrays["b"], rtol=1e-12)


def test_colours_share_out_all_points_and_no_row_knows_another_of_its_colour() -> None:
    shape = (4, 6, 2)
    places = [colour_places(shape, colour) for colour in range(COLOURS)]
    inner = np.zeros((6, 8, 4), dtype=np.int64)
    inner[1:-1, 1:-1, 1:-1] = 1
    np.testing.assert_array_equal(np.sort(np.concatenate(places)), np.flatnonzero(inner))
    for colour, place in enumerate(places):
        others = np.delete(neighbours(shape, colour), 13, axis=1)
        assert not np.isin(others, place).any()


@pytest.mark.numeric
def test_a_weather_step_in_the_tiles() -> None:
    assert check_tiles(WEATHER, PROCESSOR, tolerance=0.0) == simulate(WEATHER, processor=PROCESSOR)


@pytest.mark.timing
@pytest.mark.parametrize(
    "kernel",
    [replace(WEATHER, rows=96, columns=160, channels=16), SparseRows("smooth", (4, 36, 36), 1)],
    ids=["weather", "sparse"],
)
def test_every_wait_is_needed(kernel: Kernel) -> None:
    check_every_wait(kernel, PROCESSOR, more_than=3)


def test_what_does_not_fit_is_refused() -> None:
    small = replace(PROCESSOR, cpe=replace(PROCESSOR.cpe, ldm_bytes=512))
    with pytest.raises(InfeasiblePlan, match="sparse_product"):
        simulate(SparseRows("product", (2, 2, 2), 0), processor=small)
    with pytest.raises(InfeasiblePlan, match="weather_step"):
        simulate(WEATHER, processor=small)
