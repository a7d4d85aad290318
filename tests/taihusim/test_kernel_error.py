"""The error of computed plans: against each kernel's reference, and of the whole against the direct convolution."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.explicit import explicit
from nnlib.kernels.convolutions.plans import Task
from nnlib.kernels.launch import Launch
from nnlib.kernels.pointwise.elementwise import SumCopies
from nnlib.kernels.winograd import winograd_filters
from nnlib.kernels.winograd.winograd_tiles import filter_matrix
from sim.chip.memory import Array
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from taihusim import kernel_error
from taihusim.kernel import KernelRequest, run_operation
from taihusim.kernel_error import launches_error

SIZES = {"batch": 5, "ni": 6, "no": 10, "ro": 7, "co": 6, "k": 3, "padding": 1}
PASSES = ["conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"]


def error(op: str = "conv2d", **options: Any) -> float:
    options = {"sizes": SIZES, "numerics": "tile", **options}
    found = run_operation(load_machine("sunway_taihulight"), KernelRequest(op=op, **options))["max_relative_error"]
    assert isinstance(found, float)
    return found


@pytest.mark.numeric
@pytest.mark.parametrize("groups", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("op", PASSES)
def test_winograd_in_single_precision_is_as_near_the_convolution_as_expected(op: str, groups: int) -> None:
    sizes = {**SIZES, "groups": groups}
    single = error(op, sizes=sizes, plan="winograd", dtype="fp32")
    assert 1e-8 < single < 1e-4
    assert error(op, sizes=sizes, plan="winograd", dtype="fp64") < 1e-12


@pytest.mark.numeric
@pytest.mark.parametrize("core_groups", [pytest.param(1, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize(("plan", "library"), [("explicit", "autotuned-2019"), ("dma", "naive"), ("direct", "naive")])
@pytest.mark.parametrize("op", PASSES)
def test_every_plan_with_channels_last_meets_the_convolution(
    op: str, plan: str, library: str, core_groups: int
) -> None:
    sizes = {**SIZES, "ro": 3, "co": 4, "stride": 2, "dilation": 2, "groups": 2, "padding": 2}
    assert error(op, sizes=sizes, plan=plan, library=library, core_groups=core_groups) < 1e-12


@pytest.mark.numeric
@pytest.mark.parametrize("op", PASSES)
def test_a_wrong_transform_in_tiles_and_reference_alike_shows(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Array:
        matrix = filter_matrix().copy()
        matrix[1, 1] *= -1
        return matrix

    monkeypatch.setattr(winograd_filters, "filter_matrix", broken)
    assert error(op, plan="winograd") > 0.05


@pytest.mark.numeric
@pytest.mark.parametrize("which", ["forward", "input_gradient", "weight_gradient"])
def test_launches_that_do_another_convolution_of_the_same_shapes_show(which: Pass) -> None:
    processor = load_machine("sunway_taihulight").processor
    plain = Convolution(batch=2, ni=3, no=4, ri=7, ci=6, kr=3, kc=3, padding=1)
    dilated = replace(plain, padding=2, dilation=2)
    launches = explicit(dilated, which, dtype="fp64")
    asked = {
        convolution: launches_error(
            launches,
            processor=processor,
            task=Task(convolution=convolution, which=which, dtype="fp64"),
        )
        for convolution in (plain, dilated)
    }
    assert asked[dilated] < 1e-12
    assert asked[plain] > 0.1
    assert launches_error(launches, processor=processor) < 1e-12, "kernel by kernel nothing is wrong"


@pytest.mark.numeric
def test_numbers_that_are_not_written_are_an_infinite_error(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = load_machine("sunway_taihulight").processor
    launches = (Launch.of(SumCopies(3, 100, "fp64")),)
    assert launches_error(launches, processor=processor) < 1e-12
    compute = kernel_error.compute_kernel

    def half(kernel: SumCopies, *, processor: ProcessorSpec, data: dict[str, Array]) -> None:
        total = data["total"].copy()
        compute(kernel, processor=processor, data=data)
        data["total"][50:] = total[50:]

    monkeypatch.setattr(kernel_error, "compute_kernel", half)
    assert launches_error(launches, processor=processor) == np.inf
