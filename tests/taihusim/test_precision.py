"""Precisions of a mapping: what they compute with, what they take, and which cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnlib.graph import INPUT
from nnlib.quantised.device import FixedDevice, StorageDevice
from nnlib.quantised.integer_device import InferenceOnly, IntegerDevice
from sim.problems import BadInput
from taihusim.precision import (
    check_training,
    inference_device,
    inference_program,
    real_layers,
    training_device,
    training_program,
)
from taihusim.setup import Setup, prepare
from tests.taihusim.command import json_of, taihusim
from tests.taihusim.tiny import tiny_workload


def setup_of(*flags: str) -> Setup:
    return prepare(workload="digits", mapping_flags=list(flags))


def test_a_mapping_says_what_precision_means() -> None:
    fixed = setup_of("precision=int16", "rounding=nearest", "weight_fraction_bits=10", "master_copy=true").mapping
    assert (fixed.dtype, fixed.integers) == ("fp64", "int16")
    assert fixed.fixed is not None
    assert (fixed.fixed.weights.name, fixed.fixed.rounding, fixed.fixed.master) == ("Q6.10", "nearest", True)
    mixed = setup_of("precision=fp32-fp64").mapping
    assert (mixed.dtype, mixed.integers, mixed.fixed) == ("fp32", None, None)
    with pytest.raises(BadInput, match="int16"):
        setup_of("precision=int12")


def test_devices_of_precisions() -> None:
    assert isinstance(training_device(setup_of("precision=int16"), together=4, seed=0), FixedDevice)
    assert isinstance(training_device(setup_of("precision=fp32-fp64"), together=4, seed=0), StorageDevice)
    sample = {INPUT: np.zeros((2, 8, 8, 1))}
    device = inference_device(setup_of("precision=int8", "calibration=mse"), sample)
    assert isinstance(device, IntegerDevice)
    assert (device.storage, device.calibration.method) == ("int8", "mse")
    with pytest.raises(InferenceOnly):
        device.update(optimizer=None, parameters={}, grads={}, state={}, rate=0.1)  # type: ignore[arg-type]


def test_a_layer_without_integer_kernels_works_on_real_numbers(tmp_path: Path) -> None:
    layers = "    - {type: flatten}\n    - {type: sigmoid}\n    - {type: linear, units: 10}"
    setup = prepare(workload=tiny_workload(tmp_path, layers=layers), mapping_flags=["precision=int8"])
    names = [launch.kernel.name for launch in inference_program(setup, batch=4).launches]
    assert real_layers(setup) == ["sigmoid1"]
    assert names == ["quantise", "dequantise", "sigmoid", "quantise", "integer_gemm", "dequantise"]


def test_what_cannot_be_says_what_can() -> None:
    with pytest.raises(BadInput, match="int8 is for inference"):
        check_training(setup_of("precision=int8"))
    with pytest.raises(BadInput, match="fp64 or fp32 with the backend torch"):
        check_training(setup_of("precision=int16", "backend=torch"))


def test_integers_take_fewer_launches_and_rounding_takes_more() -> None:
    names = {
        each: [launch.kernel.name for launch in inference_program(setup_of(f"precision={each}"), batch=4).launches]
        for each in ("fp64", "int8")
    }
    assert len(names["int8"]) < len(names["fp64"])
    assert names["int8"][0] == "quantise"
    assert names["int8"][-1] == "dequantise"
    assert names["int8"].count("integer_gemm") == 4
    steps = [len(training_program(setup_of(f"precision={each}"), batch=4).launches) for each in ("fp32-fp64", "int16")]
    assert steps[1] > 2 * steps[0]


@pytest.mark.slow
def test_the_command_line() -> None:
    arguments = ("train", "digits", "--nodes", "1", "--epochs", "1")
    by_rounding = {
        rounding: json_of(*arguments, "--precision", "int16", "--rounding", rounding)["runs"][0]
        for rounding in ("stochastic", "nearest")
    }
    double, mixed = (json_of(*arguments, "--precision", name)["runs"][0] for name in ("fp64", "fp32-fp64"))
    assert by_rounding["stochastic"]["test_accuracy"] > by_rounding["nearest"]["test_accuracy"] + 0.1
    assert by_rounding["stochastic"]["seconds_per_step"] > double["seconds_per_step"]
    assert mixed["test_accuracy"] == pytest.approx(double["test_accuracy"], abs=0.02)
    assert mixed["seconds_per_step"] < double["seconds_per_step"]
    single = json_of("train", "digits", "--nodes", "1", "--epochs", "1", "--precision", "fp32", "--numerics", "off")
    assert single["runs"][0]["seconds_per_step"] == mixed["seconds_per_step"], "the kernels of fp32"
    narrow, wide = (json_of("infer", "digits", "--precision", name)["points"][0] for name in ("int8", "fp64"))
    assert narrow["seconds_per_batch"] < wide["seconds_per_batch"]


def test_a_product_of_integers_on_the_command_line() -> None:
    sizes = ("--m", "256", "--n", "256", "--k", "256")
    found = {
        dtype: json_of("kernel", "gemm", *sizes, "--dtype", dtype, "--numerics", "tile") for dtype in ("fp64", "int8")
    }
    assert found["int8"]["max_relative_error"] == 0
    assert found["int8"]["dma_bytes"] < found["fp64"]["dma_bytes"] / 4
    done = taihusim("kernel", "relu", "--elements", "100", "--dtype", "int8")
    assert done.returncode == 2
    assert "there are no kernels of integers for relu" in done.stderr
    pipeline = json_of("pipeline", "autotuned-2019", "--dtype", "int16")
    assert pipeline["k_step_cycles"] == 24
    assert pipeline["conversion_cycles_per_element"] == pytest.approx(0.75)
