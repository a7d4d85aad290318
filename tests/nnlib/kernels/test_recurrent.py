"""Kernels over sequences: in the tiles as by whole arrays, larger than the LDM, as the layers compute, and how fast."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import InfeasiblePlan, Kernel
from nnlib.kernels.sequences.ctc import CtcLoss
from nnlib.kernels.sequences.recurrent import RecurrentLayer, RecurrentLayerGradient
from nnlib.kernels.sequences.recurrent_cell import RecurrentCell
from nnlib.kernels.sequences.recurrent_gates import CellName
from nnlib.kernels.sequences.recurrent_shape import RecurrentShape
from nnlib.kernels.sequences.reset_first import ResetFirstGradient, ResetFirstLayer
from nnlib.kernels.sequences.row_convolution import RowConvolution
from nnlib.kernels.simulation import compute_kernel, empty_arrays, simulate
from nnlib.ops.ctc import ctc_loss, log_softmax
from nnlib.ops.gru import Gru
from nnlib.ops.lstm import Lstm
from nnlib.ops.recurrent import Cell, recurrent_backward, recurrent_forward
from nnlib.ops.sequence import sequence_mask
from nnlib.ops.simple_recurrent import Simple
from nnlib.precision import DTypeName
from sim.chip.memory import Array
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.sequences import fill_ctc
from tests.nnlib.kernels.tiles import check_tiles, relative_error
from tests.nnlib.kernels.waits import check_every_wait

LSTM = RecurrentShape(cell="lstm", batch=9, steps=3, hidden=10)
DTYPES: list[DTypeName] = ["fp64", "fp32"]


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", get_args(CellName))
def test_gates_of_any_size(cell: CellName, dtype: DTypeName, processor: ProcessorSpec) -> None:
    """One number, ragged edges, and rows longer than the LDM."""
    for batch, hidden in ((1, 1), (13, 9), (3, 4100)):
        for kernel in (
            RecurrentCell(cell, batch, hidden, dtype, masked=True),
            RecurrentCell(cell, batch, hidden, dtype, "gradient"),
        ):
            assert KernelClock(processor).time(kernel) == check_tiles(kernel, processor)


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", get_args(CellName))
def test_layers_of_any_size(cell: CellName, dtype: DTypeName, resident: bool, processor: ProcessorSpec) -> None:
    for batch, steps, hidden, reverse in ((1, 1, 1, False), (70, 5, 33, True), (260, 4, 64, False)):
        shape = RecurrentShape(
            cell=cell, batch=batch, steps=steps, hidden=hidden, masked=hidden % 2 == 1, reverse=reverse
        )
        for kernel in (
            RecurrentLayer(shape=shape, dtype=dtype, resident=resident),
            RecurrentLayerGradient(shape=shape, dtype=dtype, resident=resident),
        ):
            assert KernelClock(processor).time(kernel) == check_tiles(kernel, processor)


CELLS: dict[CellName, Cell] = {
    "lstm": Lstm(),
    "gru": Gru(),
    "tanh": Simple("tanh"),
    "clipped_relu": Simple("clipped_relu", 0.7),
}


@pytest.mark.numeric
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", list(CELLS))
def test_a_layer_in_the_tiles_is_the_operation(cell: CellName, reverse: bool, processor: ProcessorSpec) -> None:
    """With lengths, and the candidate's bias of a gated recurrent unit."""
    batch, steps, hidden, ceiling = 5, 6, 7, 0.7
    rng = np.random.default_rng(0)
    gates, states = CELLS[cell].gates, CELLS[cell].states
    product, weight = rng.standard_normal((batch, steps, gates * hidden)), rng.standard_normal((hidden, gates * hidden))
    bias = np.zeros(gates * hidden)
    if cell == "gru":
        bias[2 * hidden :] = rng.standard_normal(hidden)
    lengths = np.array([6, 0, 3, 1, 5])
    initial = tuple(rng.standard_normal((batch, hidden)) for _ in range(states))
    grad_y = rng.standard_normal((batch, steps, hidden))
    grad_final = tuple(rng.standard_normal((batch, hidden)) for _ in range(states))
    run = recurrent_forward(product, weight, bias, cell=CELLS[cell], lengths=lengths, reverse=reverse, initial=initial)
    found = recurrent_backward(run, grad_y, grad_final)

    shape = RecurrentShape(
        cell=cell, batch=batch, steps=steps, hidden=hidden, masked=True, reverse=reverse, ceiling=ceiling
    )
    forward = RecurrentLayer(shape=shape, dtype="fp64", resident=True)
    inside = sequence_mask(lengths, steps).T[:, :, None].astype(np.float64)
    arrays: dict[str, Array] = empty_arrays(forward)
    arrays["x_product"][...] = product.swapaxes(0, 1)
    arrays["weight"][...], arrays["inside"][...] = weight, inside
    first, last = (steps, 0) if reverse else (0, steps)
    for name, state in zip(("hidden", "cells"), initial, strict=False):
        arrays[name][first] = state
    if cell == "gru":
        arrays["candidate_bias"][0] = bias[2 * hidden :]
    compute_kernel(forward, processor=processor, data=arrays)
    assert relative_error(arrays["y"].swapaxes(0, 1), run.y) < 1e-12
    for name, wanted in zip(("hidden", "cells"), run.final, strict=False):
        assert relative_error(arrays[name][last], wanted) < 1e-12

    backward = RecurrentLayerGradient(shape=shape, dtype="fp64", resident=True)
    known = {each.name: arrays[each.name] for each in backward.parameters() if each.name in arrays}
    arrays = {**empty_arrays(backward), **known}
    arrays["grad_y"][...] = grad_y.swapaxes(0, 1)
    for name, grad in zip(("grad_hidden", "grad_cell"), grad_final, strict=False):
        arrays[name][...] = grad
    compute_kernel(backward, processor=processor, data=arrays)
    assert relative_error(arrays["grad_product"].swapaxes(0, 1), found.x_product) < 1e-12
    assert relative_error(arrays["grad_weight"], found.weight) < 1e-12
    for name, wanted in zip(("grad_hidden", "grad_cell"), found.initial, strict=False):
        assert relative_error(arrays[name], wanted) < 1e-12


@pytest.mark.slow
@pytest.mark.timing
def test_resident_weights_save_their_way_from_memory(processor: ProcessorSpec) -> None:
    shape = RecurrentShape(cell="lstm", batch=64, steps=8, hidden=256)
    clock = KernelClock(processor)
    for kernel in (RecurrentLayer, RecurrentLayerGradient):
        read = clock.time(kernel(shape=shape, dtype="fp64", resident=False))
        kept = clock.time(kernel(shape=shape, dtype="fp64", resident=True))
        assert kept.flops == read.flops
        assert kept.ticks < read.ticks
        assert kept.get_bytes < read.get_bytes - 7 * 256 * 1024 * 8
    with pytest.raises(InfeasiblePlan):
        clock.time(RecurrentLayer(shape=replace(shape, hidden=1024), dtype="fp64", resident=True))


@pytest.mark.parametrize(("hidden", "stays"), [(32, False), (64, True), (256, True), (1024, False)])
def test_weights_stay_where_they_fit_and_pay(hidden: int, stays: bool, processor: ProcessorSpec) -> None:
    shape = RecurrentShape(cell="lstm", batch=64, steps=8, hidden=hidden)
    for kernel in (RecurrentLayer(shape=shape, dtype="fp64"), RecurrentLayerGradient(shape=shape, dtype="fp64")):
        assert kernel.stays(processor) is stays
        assert replace(kernel, resident=not stays).stays(processor) is not stays


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("towards", ["forward", "input_gradient", "weight_gradient"])
def test_row_convolutions_of_any_size(towards: str, dtype: DTypeName, processor: ProcessorSpec) -> None:
    for batch, steps, channels, taps in ((1, 1, 1, 1), (7, 9, 5, 3), (1, 2, 3, 6), (2, 5, 3001, 2)):
        for masked in (False, True):
            kernel = RowConvolution(
                batch=batch,
                steps=steps,
                channels=channels,
                taps=taps,
                dtype=dtype,
                towards=towards,  # type: ignore[arg-type]
                masked=masked,
            )
            assert KernelClock(processor).time(kernel) == check_tiles(kernel, processor)


CTC = CtcLoss(batch=9, steps=11, classes=7, labels=4, dtype="fp64")


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "sizes",
    [
        {"batch": 1, "steps": 1, "classes": 2, "labels": 1},
        {"batch": 3, "steps": 9, "classes": 7, "labels": 4},
        # a step's classes are more than the LDM holds, or its positions
        pytest.param({"batch": 2, "steps": 4, "classes": 8200, "labels": 2}, marks=pytest.mark.slow),
        pytest.param({"batch": 9, "steps": 130, "classes": 30, "labels": 25}, marks=pytest.mark.slow),
        pytest.param({"batch": 1, "steps": 9, "classes": 4, "labels": 3000}, marks=pytest.mark.slow),
    ],
)
def test_ctc_of_any_size(sizes: dict[str, Any], dtype: DTypeName, processor: ProcessorSpec) -> None:
    kernel = CtcLoss(dtype=dtype, **sizes)
    assert KernelClock(processor).time(kernel) == check_tiles(kernel, processor)


@pytest.mark.numeric
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_a_target_that_does_not_fit_costs_as_much_as_by_layer(zero_infinity: bool, processor: ProcessorSpec) -> None:
    kernel = replace(CTC, zero_infinity=zero_infinity)
    arrays = empty_arrays(kernel)
    rng = np.random.default_rng(0)
    logits = rng.standard_normal(arrays["log_probs"].shape)
    arrays["log_probs"][...] = log_softmax(logits)
    fill_ctc(kernel, arrays, rng, lost=(2, 5))
    arrays["weights"][...] = 1
    simulate(kernel, processor=processor, data=arrays)
    losses, grad = ctc_loss(
        logits,
        arrays["targets"].astype(np.int64),
        arrays["lengths"][:, 0].astype(np.int64),
        zero_infinity=zero_infinity,
        reduction="none",
    )
    np.testing.assert_allclose(arrays["loss"][:, 0], losses, rtol=1e-12)
    np.testing.assert_allclose(arrays["grad_logits"], grad, atol=1e-12)


WAITING: list[Kernel] = [
    RecurrentCell("lstm", 70, 10, "fp64", masked=True),
    RecurrentLayer(shape=LSTM, dtype="fp64", fresh=True),
    RecurrentLayer(shape=LSTM, dtype="fp64", resident=True),
    RecurrentLayerGradient(shape=LSTM, dtype="fp64", resident=True),
    ResetFirstLayer(shape=replace(LSTM, cell="gru"), dtype="fp64"),
    ResetFirstGradient(shape=replace(LSTM, cell="gru", masked=True), dtype="fp64"),
    RowConvolution(batch=70, steps=40, channels=300, taps=3, dtype="fp64"),
    CtcLoss(batch=9, steps=5, classes=4, labels=2, dtype="fp64"),
]


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("kernel", WAITING, ids=lambda kernel: kernel.name)
def test_every_wait_is_needed(kernel: Kernel, processor: ProcessorSpec) -> None:
    check_every_wait(kernel, processor, more_than=3)


@pytest.mark.parametrize("kernel", WAITING, ids=lambda kernel: kernel.name)
def test_a_tile_that_does_not_fit_is_an_error_with_sizes(kernel: Kernel, processor: ProcessorSpec) -> None:
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=96))
    with pytest.raises(InfeasiblePlan):
        KernelClock(small).time(kernel)


@pytest.mark.timing
def test_long_sequences_take_no_longer_to_simulate(processor: ProcessorSpec) -> None:
    """A step like another one is not simulated again."""
    shape = RecurrentShape(cell="gru", batch=64, steps=300, hidden=64)
    for resident in (False, True):
        timing = KernelClock(processor).time(RecurrentLayer(shape=shape, dtype="fp64", resident=resident))
        report = next(each for each in timing.loops if each.iterations == 300)
        assert report.simulated < 30
