"""Kernels over rows: softmax, losses, learned slopes, Dice; rows that fit the LDM and rows that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nnlib.kernels.batched import Batched
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import InfeasiblePlan, Kernel
from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.pointwise.functions.table import FUNCTIONS, Function
from nnlib.kernels.pointwise.prelu import Prelu, PreluGradient
from nnlib.kernels.pointwise.reparameterise import Reparameterise
from nnlib.kernels.pointwise.spread_shares import SpreadShares
from nnlib.kernels.rows.dice import DiceGradient, DiceSums
from nnlib.kernels.rows.row_blocks import RowBlocks
from nnlib.kernels.rows.row_loss import LOSSES, LossFunction, RowLoss
from nnlib.kernels.rows.row_softmax import RowSoftmax, RowSoftmaxGradient
from nnlib.kernels.rows.softmax import SoftmaxCrossEntropy
from nnlib.kernels.simulation import compute_kernel, empty_arrays, simulate
from nnlib.ops.binary_cross_entropy import binary_cross_entropy_with_logits
from nnlib.ops.dice import binary_dice, dice
from nnlib.ops.gaussian_kl import gaussian_kl
from nnlib.ops.loss import softmax_cross_entropy
from nnlib.ops.regression_loss import mean_squared_error, smooth_l1
from nnlib.precision import DTypeName
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.tiles import check_tiles
from tests.nnlib.kernels.waits import check_every_wait

DTYPES: tuple[DTypeName, ...] = ("fp64", "fp32")
SHAPES = [(1, 1), (77, 13), (3, 9000), (130, 5001)]
ROWS: dict[str, Callable[[int, int, DTypeName], Kernel]] = {
    "softmax": RowSoftmax,
    "softmax_gradient": RowSoftmaxGradient,
    "log_softmax": lambda rows, columns, dtype: RowSoftmax(rows, columns, dtype, log=True),
    "log_softmax_gradient": lambda rows, columns, dtype: RowSoftmaxGradient(rows, columns, dtype, log=True),
    "prelu": Prelu,
    "prelu_gradient": PreluGradient,
    "dice_sums": DiceSums,
    "dice_gradient": DiceGradient,
    "binary_cross_entropy": lambda rows, columns, dtype: RowLoss("binary_cross_entropy", rows, columns, dtype),
    "cross_entropy": SoftmaxCrossEntropy,
    "smoothed cross-entropy": lambda rows, columns, dtype: SoftmaxCrossEntropy(
        rows, columns, dtype, tuple(np.linspace(0.5, 2, columns).tolist()), 0.1
    ),
    "reparameterise": Reparameterise,
    "spread_shares": SpreadShares,
    "gaussian_kl": lambda rows, columns, dtype: RowLoss("gaussian_kl", rows, columns, dtype),
}


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROWS)
def test_tiles_compute_the_reference(name: str, dtype: DTypeName, processor: ProcessorSpec) -> None:
    for rows, columns in SHAPES:
        kernel = ROWS[name](rows, columns, dtype)
        timing = check_tiles(kernel, processor)
        assert KernelClock(processor).time(kernel) == timing


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", LOSSES)
def test_losses_compute_the_reference(function: LossFunction, dtype: DTypeName, processor: ProcessorSpec) -> None:
    for rows, columns in SHAPES:
        check_tiles(RowLoss(function, rows, columns, dtype), processor)


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_compute_the_reference(function: Function, dtype: DTypeName, processor: ProcessorSpec) -> None:
    for elements in (1, 77, 20_000):
        check_tiles(Elementwise(function, elements, dtype), processor)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("name", ROWS)
def test_every_wait_is_needed(name: str, processor: ProcessorSpec) -> None:
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=2048))
    for columns in (9, 300):
        check_every_wait(ROWS[name](70, columns, "fp64"), small, more_than=1)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("name", ROWS)
def test_long_loops_take_the_time_of_each_turn(name: str, processor: ProcessorSpec) -> None:
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=2048))
    for rows, columns in ((64 * 20 + 3, 16), (64 * 9, 320)):
        kernel = ROWS[name](rows, columns, "fp64")
        assert simulate(kernel, processor=small) == simulate(kernel, processor=small, plainly=True)


@pytest.mark.parametrize("name", ROWS)
def test_what_never_fits_is_an_error_with_sizes(name: str, processor: ProcessorSpec) -> None:
    tiny = replace(processor, cpe=replace(processor.cpe, ldm_bytes=96))
    with pytest.raises(InfeasiblePlan, match="96 B"):
        KernelClock(tiny).time(ROWS[name](5, 70, "fp64"))


def test_blocks_of_long_rows() -> None:
    blocks = RowBlocks(rows=130, columns=23, width=10, cpes=64)
    assert blocks.turns == 3
    assert blocks.pieces == [(0, 10, 2), (20, 3, 1)]
    assert replace(blocks, columns=20).pieces == [(0, 10, 2)]
    assert [float(blocks.busy(turn).sum()) for turn in range(3)] == [64, 64, 2]


@pytest.mark.numeric
def test_a_masked_block_before_all_others(processor: ProcessorSpec) -> None:
    """The first of several blocks has nothing but minus infinity."""
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=2048))
    kernel = RowSoftmax(2, 300, "fp64")
    data = empty_arrays(kernel)
    data["x"][...] = np.random.default_rng(1).standard_normal((2, 300))
    data["x"][0, :200] = -np.inf
    compute_kernel(kernel, processor=small, data=data)
    assert not data["y"][0, :200].any()
    np.testing.assert_allclose(data["y"].sum(axis=1), 1, rtol=1e-14)


def test_constants_are_the_functions(processor: ProcessorSpec) -> None:
    for constants, slope in (((), 0.01), ((0.25,), 0.25)):
        kernel = Elementwise("leaky_relu", 3, "fp64", constants)
        data = empty_arrays(kernel) | {"x": np.array([-1.0, 0.0, 2.0])}
        compute_kernel(kernel, processor=processor, data=data)
        assert data["y"].tolist() == [-slope, 0, 2]


def test_the_error_function_takes_longer_in_double_precision(processor: ProcessorSpec) -> None:
    clock = KernelClock(processor)
    double, single = (clock.time(Elementwise("gelu", 100_000, dtype)).ticks for dtype in DTYPES)
    assert double > 2 * single


@pytest.mark.numeric
def test_loss_kernels_are_the_losses_of_the_host(processor: ProcessorSpec) -> None:
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((2, 5, 40))
    target, shares = rng.uniform(-0.3, 1, (5, 40)), rng.uniform(0.1, 1, 5)
    even = shares[:, None] / 40

    def run(function: LossFunction, weights: np.ndarray, *constants: float) -> dict[str, np.ndarray]:
        kernel = RowLoss(function, 5, 40, "fp64", constants)
        data = empty_arrays(kernel) | {"weights": weights.copy()}
        names = kernel.definition.inputs
        data[names[0]][...] = first
        data[names[1]][...] = target if function.startswith("binary") else second
        compute_kernel(kernel, processor=processor, data=data)
        return data

    for function, ours in (("mean_squared_error", mean_squared_error), ("smooth_l1", smooth_l1)):
        found = run(function, even)  # type: ignore[arg-type]
        loss, grad = ours(first, second, shares)
        assert found["loss"].sum() == pytest.approx(loss, rel=1e-13)
        np.testing.assert_allclose(found["grad_prediction"], grad, rtol=1e-12)
    valid = shares[:, None] / (target >= 0).sum(axis=1, keepdims=True)
    found = run("binary_cross_entropy_with_logits", valid, 3.0)
    loss, grad = binary_cross_entropy_with_logits(first, target, shares, positive_weight=3.0)
    assert found["loss"].sum() == pytest.approx(loss, rel=1e-13)
    np.testing.assert_allclose(found["grad_prediction"], grad, rtol=1e-12)
    found = run("gaussian_kl", shares[:, None])
    loss, (by_mean, by_variance) = gaussian_kl(first, second, shares)
    assert found["loss"].sum() == pytest.approx(loss, rel=1e-13)
    np.testing.assert_allclose(found["grad_mean"], by_mean, rtol=1e-12)
    np.testing.assert_allclose(found["grad_log_variance"], by_variance, rtol=1e-12)


@pytest.mark.numeric
@pytest.mark.parametrize("classes", [6, 300])
@pytest.mark.parametrize(("weighted", "smoothing"), [(False, 0.0), (True, 0.0), (False, 0.2), (True, 0.1)])
def test_cross_entropy_kernels_are_the_loss_of_the_host(
    weighted: bool, smoothing: float, classes: int, processor: ProcessorSpec
) -> None:
    """Of rows that fit the LDM and rows that do not; some have no label."""
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=2048 if classes == 300 else 65_536))
    rng = np.random.default_rng(7)
    factors = rng.uniform(0.2, 2, classes) if weighted else None
    kernel = SoftmaxCrossEntropy(
        9, classes, "fp64", tuple(factors.tolist()) if factors is not None else None, smoothing
    )
    labels, shares = rng.integers(-1, classes, (9, 1)), rng.uniform(0.1, 1, (9, 1))
    labels[:3, 0] = -1, 0, classes - 1
    data = empty_arrays(kernel) | {"labels": labels.astype(float), "weights": shares}
    data["logits"][...] = 5 * rng.standard_normal((9, classes))
    compute_kernel(kernel, processor=small, data=data)
    loss, grad = softmax_cross_entropy(
        data["logits"], labels[:, 0], shares[:, 0], total=1.0, class_weights=factors, smoothing=smoothing
    )
    assert data["loss"].sum() == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(data["grad_logits"], grad, rtol=1e-11, atol=1e-15)
    assert not data["grad_logits"][0].any()


@pytest.mark.numeric
@pytest.mark.parametrize("binary", [False, True])
def test_dice_kernels_are_the_loss_of_the_host(binary: bool, processor: ProcessorSpec) -> None:
    rng, classes = np.random.default_rng(4), 1 if binary else 4
    probabilities, shares = rng.uniform(0.01, 0.99, (3, 50, classes)), rng.uniform(0.1, 1, 3)
    labels: NDArray[Any] = rng.uniform(-0.3, 1, (3, 50)) if binary else rng.integers(-1, classes, (3, 50))
    sums = Batched(kernel=DiceSums(50, classes, "fp64", binary=binary), total=3)
    gradient = Batched(kernel=DiceGradient(50, classes, "fp64", smooth=0.5, binary=binary), total=3)
    data = empty_arrays(sums) | {"probabilities": probabilities, "labels": labels[..., None].astype(float)}
    compute_kernel(sums, processor=processor, data=data)
    data = empty_arrays(gradient) | data | {"share": shares[:, None].copy()}
    compute_kernel(gradient, processor=processor, data=data)
    if binary:
        loss, grad = binary_dice(probabilities[..., 0], labels, shares, smooth=0.5)
        grad = grad[..., None]
    else:
        loss, grad = dice(probabilities, labels, shares, smooth=0.5)
    assert data["loss"].sum() == pytest.approx(loss, rel=1e-13)
    np.testing.assert_allclose(data["grad_probabilities"], grad, rtol=1e-12, atol=1e-16)
