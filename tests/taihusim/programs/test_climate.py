"""A climate step and the network that looks through its fields: joined numbers, joined time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from taihusim.options import Settings
from taihusim.planning import plan_steps
from taihusim.precision import inference_device
from taihusim.programs.climate import climate_point
from taihusim.programs.climate_run import run_climate
from taihusim.setup import Setup, prepare
from tests.workloads.hpc.lu_cases import clock
from workloads.datasets.storms import Storms
from workloads.hpc.climate_spec import ClimateWorkload
from workloads.hpc.files import load_program
from workloads.hpc.process_grid import near_square
from workloads.hpc.weather import Grid


def workload(windows: Grid, steps: int) -> ClimateWorkload:
    shipped = load_program("climate")
    assert isinstance(shipped, ClimateWorkload)
    return replace(shipped, windows=windows, steps=steps)


@pytest.fixture(scope="module")
def setup() -> Setup:
    return prepare(workload="storms", settings=Settings(mapping=("precision=fp64",)))


@pytest.mark.slow
@pytest.mark.numeric
def test_fields_are_looked_through_where_they_are(setup: Setup) -> None:
    """Four processes with a window each say of every point what one process with four windows says."""
    globe = Storms(height=96, width=96, seed=4).generate(np.array([1])).fields[0]
    variables = setup.model.initialise(np.random.default_rng(0), np.dtype(np.float64))
    shared = run_climate(workload((1, 1), 3), setup=setup, grid=(2, 2), globe=globe, variables=variables)
    alone = run_climate(workload((2, 2), 3), setup=setup, grid=(1, 1), globe=globe, variables=variables)
    np.testing.assert_array_equal(shared.fields, alone.fields)
    np.testing.assert_array_equal(shared.classes, alone.classes)
    assert shared.classes.shape == (96, 96)
    assert set(np.unique(shared.classes)) == {0, 1}
    # what the network says of a part of the fields as they are then, by itself
    part = shared.fields[None, 48:, :48]
    (said,) = inference_device(setup, None).outputs(variables=variables, inputs={"input": part}).values()
    np.testing.assert_array_equal(shared.classes[48:, :48], said[0].argmax(axis=-1))
    before = run_climate(workload((2, 2), 0), setup=setup, grid=(1, 1), globe=globe, variables=variables)
    assert (before.classes != alone.classes).any()


@pytest.mark.slow
@pytest.mark.timing
def test_storage_is_what_the_way_round_costs() -> None:
    steps = plan_steps(workload="storms", machine="sunway_taihulight", mapping="default", settings=Settings())
    few, many = (climate_point(workload((1, 1), 10), steps=steps, clock=clock(), nodes=nodes) for nodes in (4, 4096))
    for point in (few, many):
        assert point["seconds_in_place"] == pytest.approx(
            point["seconds_simulation"] + point["seconds_field_cutting"] + point["seconds_segmentation"], rel=1e-12
        )
        assert point["seconds_through_storage"] == point["seconds_in_place"] + point["seconds_storage"]
        assert sum(point["shares"].values()) == pytest.approx(1)
    assert few["seconds_segmentation"] == many["seconds_segmentation"]
    # 288 GB/s for all, each way
    assert many["seconds_storage"] >= 2 * many["field_bytes"] / 288e9
    assert many["seconds_storage"] / many["seconds_in_place"] > few["seconds_storage"] / few["seconds_in_place"]
    assert many["fields"] == 4 * 4096
    assert near_square(4 * 4096) == (128, 128)
