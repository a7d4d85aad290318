"""Predictions of the published GEMMs of swGEMM."""

from __future__ import annotations

import pytest

from sim.machine.load import load_machine
from sim.machine.spec import MachineSpec
from taihusim.validation.gemm_tables import block_sweep, shapes, skinny_blocking
from taihusim.validation.inputs import Predictor, Unpredictable
from taihusim.validation.predictors import PREDICTORS
from taihusim.validation.report import compare
from taihusim.validation.table import read_tables

LIBRARY = {"library": "autotuned-2019"}
LIMITS = {"gemm_fp32": 0.10, "gemm_skinny_blocking": 0.15, "gemm_block_sweep_fp32": 0.15}


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("sunway_taihulight")


def product(m: int, n: int, k: int) -> dict[str, str]:
    return {**LIBRARY, "M": str(m), "N": str(n), "K": str(k)}


def blocks(bn: int, bm: int, bk: int) -> dict[str, str]:
    return {**LIBRARY, "BN": str(bn), "BM": str(bm), "BK": str(bk)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.validation if name == "gemm_block_sweep_fp32" else []) for name in LIMITS],
)
def test_tables_are_predicted_within_their_limits(name: str, machine: MachineSpec) -> None:
    (table,) = read_tables(names=[name])
    report = compare(table, machine=machine, predictors=PREDICTORS)
    assert len(report.compared) == report.rows
    assert report.mean_abs_error is not None
    assert report.mean_abs_error <= LIMITS[name]


def test_every_table_has_its_predictor() -> None:
    assert [PREDICTORS[name] for name in LIMITS] == [shapes, skinny_blocking, block_sweep]


@pytest.mark.parametrize("predict", [shapes, skinny_blocking, block_sweep])
def test_other_libraries_are_not_predicted(predict: Predictor, machine: MachineSpec) -> None:
    with pytest.raises(Unpredictable, match="swdnn-2016 is not modelled"):
        predict({"library": "swdnn-2016"}, machine)


def test_blocks_beyond_the_ldm_are_not_predicted(machine: MachineSpec) -> None:
    with pytest.raises(Unpredictable, match="B of LDM per CPE"):
        block_sweep(blocks(1024, 1024, 512), machine)


@pytest.mark.parametrize("broken", [{"BN": "100"}, {"BM": "2048"}, {"BK": "many"}])
def test_blocks_that_are_none_are_not_predicted(broken: dict[str, str], machine: MachineSpec) -> None:
    with pytest.raises(Unpredictable):
        block_sweep({**blocks(128, 128, 64), **broken}, machine)


def test_the_long_way_along_k_is_the_efficient_one(machine: MachineSpec) -> None:
    """C's transfers and conversions are paid once, whatever K is."""
    rates = [shapes(product(512, 512, k), machine) for k in (128, 512, 2048)]
    assert rates == sorted(rates)
    assert rates[-1] < machine.processor.core_group_cpe_peak_flops / 1e9


@pytest.mark.slow
def test_larger_blocks_are_better_until_nothing_overlaps(machine: MachineSpec) -> None:
    """Published: 179, 300, 350, and down to 281 with two ranges of k only."""
    small, middle, large = (
        block_sweep(blocks(bn, bm, bk), machine) for bn, bm, bk in ((128, 64, 32), (128, 128, 128), (256, 256, 128))
    )
    assert small < middle < large
    assert block_sweep(blocks(128, 128, 512), machine) < middle


def test_the_best_blocks_are_at_least_as_fast_as_those_of_the_estimate(machine: MachineSpec) -> None:
    thin, thick = (skinny_blocking(product(m, 4096, 128), machine) for m in (32, 512))
    assert thin < thick < 0.64 * machine.processor.core_group_cpe_peak_flops / 1e9
