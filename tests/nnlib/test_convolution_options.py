"""Convolutions with every option: gradients are adjoints, large ones in pieces are the same, what does not fit."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.ops.channel_groups import GroupedWeights
from nnlib.ops.conv_1d import conv1d_forward
from nnlib.ops.conv_transpose import conv_transpose2d_forward, transposed_shape
from nnlib.ops.convolution import Array, conv2d_forward, conv2d_input_gradient, conv2d_weight_gradient
from nnlib.ops.linear import linear_forward, linear_input_gradient, linear_weight_gradient
from nnlib.ops.reach import Reach, reaches
from nnlib.ops.threads import share

Options = dict[str, Any]


@st.composite
def reach(draw: st.DrawFn) -> Reach:
    stride, dilation, taps = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    before, behind = draw(st.integers(-2, 4)), draw(st.integers(-2, 4))
    inputs = draw(st.integers(max(1, dilation * (taps - 1) + 1 - before - behind), 20))
    rows, _ = reaches(
        (inputs, 1), (taps, 1), stride=(stride, 1), padding=(before, behind, 0, 0), dilation=(dilation, 1)
    )
    return rows


def pairs(axis: Reach) -> set[tuple[int, int, int]]:
    """Every (input, tap, output) that meet."""
    places = (
        (o * axis.stride + t * axis.dilation - axis.before, t, o) for t in range(axis.taps) for o in range(axis.outputs)
    )
    return {each for each in places if 0 <= each[0] < axis.inputs}


@settings(max_examples=60, deadline=None)
@given(axis=reach())
def test_the_phases_of_the_gradient_meet_what_the_convolution_meets(axis: Reach) -> None:
    found: list[tuple[int, int, int]] = []
    for phase in axis.phases():
        inputs, taps = range(axis.inputs)[phase.inputs], range(axis.taps)[phase.taps]
        assert (phase.reach.outputs, phase.reach.taps, phase.reach.stride) == (len(inputs), len(taps), 1)
        found += [(inputs[number], taps[tap], output) for output, tap, number in pairs(phase.reach)]
    assert len(found) == len(set(found))
    assert set(found) == pairs(axis)


@settings(max_examples=40, deadline=None)
@given(axis=reach(), data=st.data())
def test_a_part_of_the_outputs_or_taps_meets_what_it_met(axis: Reach, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, axis.outputs - 1))
    last = data.draw(st.integers(first + 1, axis.outputs))
    some = {(i, t, o - first) for i, t, o in pairs(axis) if first <= o < last}
    assert pairs(axis.part(slice(first, last))) == some
    tap = data.draw(st.integers(0, axis.taps - 1))
    assert pairs(axis.of_taps(slice(tap, axis.taps))) == {(i, t - tap, o) for i, t, o in pairs(axis) if t >= tap}


CASES: dict[str, tuple[tuple[int, int, int, int], tuple[int, int, int, int], Options]] = {
    "asymmetric": ((2, 9, 11, 3), (3, 2, 3, 5), {"stride": (2, 1), "padding": (0, 2, 1, 0), "dilation": (1, 3)}),
    "groups": ((2, 9, 8, 6), (3, 3, 2, 9), {"stride": 2, "padding": 1, "groups": 3}),
    "depthwise": ((3, 12, 9, 5), (3, 4, 1, 5), {"stride": (2, 3), "padding": (1, 2), "groups": 5}),
    "depthwise in pieces": ((2, 60, 70, 33), (3, 3, 1, 33), {"padding": 1, "groups": 33}),
    "many taps for few channels": ((2, 64, 65, 3), (7, 7, 3, 20), {"stride": 2, "padding": 3}),
    "in pieces": ((3, 50, 40, 40), (3, 3, 40, 70), {"padding": 1}),
    "wide": ((4, 9, 10, 160), (3, 3, 160, 200), {"padding": 1}),
    "wide, one tap": ((4, 9, 10, 700), (1, 1, 700, 600), {}),
    "strides pass over pixels": ((4, 10, 9, 7), (1, 1, 7, 8), {"stride": 3}),
    "large batch": ((60, 7, 6, 3), (3, 2, 3, 4), {"stride": (1, 2), "padding": (1, 0, 1, 1), "dilation": (2, 1)}),
}


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_adjoints(name: str, dtype: type[np.floating]) -> None:
    shape, weight_shape, options = CASES[name]
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal(shape).astype(dtype), rng.standard_normal(weight_shape).astype(dtype)
    y = conv2d_forward(x, weight, None, **options)
    grad = rng.standard_normal(y.shape).astype(dtype)
    grad_x = conv2d_input_gradient(grad, weight, shape, **options)
    grad_weight = conv2d_weight_gradient(grad, x, (weight_shape[0], weight_shape[1]), **options)
    assert {each.dtype for each in (y, grad_x, grad_weight)} == {np.dtype(dtype)}
    assert (grad_x.shape, grad_weight.shape) == (shape, weight_shape)
    scale = float(np.linalg.norm(y.astype(np.float64)) * np.linalg.norm(grad))
    expected = float(np.vdot(y.astype(np.float64), grad))
    tolerance = 1e-13 if dtype is np.float64 else 1e-6
    for one, other in ((x, grad_x), (weight, grad_weight)):
        assert float(np.vdot(one.astype(np.float64), other)) == pytest.approx(expected, abs=tolerance * scale)


@pytest.mark.numeric
@pytest.mark.parametrize(
    "name", ["in pieces", "wide", "wide, one tap", "depthwise in pieces", "many taps for few channels"]
)
def test_numbers_do_not_depend_on_how_many_threads_there_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, weight_shape, options = CASES[name]
    rng = np.random.default_rng(1)
    x, weight = (rng.standard_normal(size).astype(np.float32) for size in (shape, weight_shape))
    found: list[tuple[Array, ...]] = []
    for threads in (1, 3):
        monkeypatch.setattr("nnlib.ops.threads.worker_count", lambda threads=threads: threads)
        y = conv2d_forward(x, weight, None, **options)
        found.append(
            (
                y,
                conv2d_input_gradient(y, weight, shape, **options),
                conv2d_weight_gradient(y, x, (weight_shape[0], weight_shape[1]), **options),
            )
        )
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.numeric
@pytest.mark.parametrize(
    "sizes", [(700, 300, 90), (90, 400, 701), pytest.param((5, 601, 6001), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("transposed", [False, True])
def test_large_products_do_not_depend_on_threads(
    sizes: tuple[int, int, int], transposed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, ins, outs = sizes
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((rows, ins)), rng.standard_normal((outs, ins) if transposed else (ins, outs))
    found = []
    for threads in (1, 3):
        monkeypatch.setattr("nnlib.ops.threads.worker_count", lambda threads=threads: threads)
        y = linear_forward(x, weight, transposed=transposed)
        found.append((y, linear_weight_gradient(y, x, transposed=transposed)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    expected = x @ (weight.T if transposed else weight)
    np.testing.assert_allclose(found[0][0], expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    by_weight = expected.T @ x if transposed else x.T @ expected
    np.testing.assert_allclose(found[0][1], by_weight, rtol=0, atol=1e-12 * np.abs(by_weight).max())


@pytest.mark.numeric
def test_patches_of_large_images_are_never_all_in_memory() -> None:
    x, weight = np.ones((2, 96, 96, 32), dtype=np.float32), np.ones((5, 5, 32, 8), dtype=np.float32)
    y = conv2d_forward(x, weight, None, padding=2)
    patches = x.nbytes * 25
    tracemalloc.start()
    try:
        conv2d_forward(x, weight, None, padding=2)
        conv2d_weight_gradient(y, x, (5, 5), padding=2)
        conv2d_input_gradient(y, weight, (2, 96, 96, 32), padding=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < patches / 4


@pytest.mark.numeric
def test_a_row_of_sequences_by_hand() -> None:
    x = np.array([[[1.0], [2.0], [3.0], [4.0]]])
    weight = np.array([[[1.0]], [[10.0]]])
    np.testing.assert_array_equal(conv1d_forward(x, weight, None)[0, :, 0], [21, 32, 43])
    np.testing.assert_array_equal(conv1d_forward(x, weight, None, padding=(1, 0), stride=2)[0, :, 0], [10, 32])
    np.testing.assert_array_equal(conv1d_forward(x, weight, np.ones(1), dilation=3)[0, :, 0], [42])


@pytest.mark.numeric
def test_a_transposed_convolution_by_hand() -> None:
    x = np.array([[[[1.0], [2.0]]]])
    weight = np.array([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1)
    y = conv_transpose2d_forward(x, weight, np.array([0.5]), stride=(1, 2), output_padding=(0, 1))
    np.testing.assert_array_equal(y[0, 0, :, 0], [1.5, 10.5, 102.5, 20.5, 200.5, 0.5])
    cut = conv_transpose2d_forward(x, weight, None, stride=(1, 2), padding=(0, 0, 1, 0))
    np.testing.assert_array_equal(cut[0, 0, :, 0], [10, 102, 20, 200])


@pytest.mark.numeric
def test_a_linear_map_by_hand() -> None:
    x, weight = np.array([[[1.0, 2.0]], [[3.0, 4.0]]]), np.array([[1.0, 10.0, 0.0], [0.0, 1.0, 1.0]])
    y = linear_forward(x, weight, np.array([0.0, 0.0, 5.0]))
    np.testing.assert_array_equal(y, [[[1, 12, 7]], [[3, 34, 9]]])
    np.testing.assert_array_equal(linear_forward(x, weight.T.copy(), transposed=True), y - [0, 0, 5])
    np.testing.assert_array_equal(linear_input_gradient(y, weight), y @ weight.T)
    expected = x.reshape(2, 2).T @ y.reshape(2, 3)
    np.testing.assert_array_equal(linear_weight_gradient(y, x), expected)
    np.testing.assert_array_equal(linear_weight_gradient(y, x, transposed=True), expected.T)


@pytest.mark.parametrize(("channels", "groups", "merged"), [(1, 12, 12), (4, 32, 8), (5, 7, 1), (40, 6, 1), (3, 22, 2)])
def test_small_groups_are_merged_and_come_apart_again(channels: int, groups: int, merged: int) -> None:
    grouped = GroupedWeights((2, 3, channels, 5 * groups), groups)
    assert grouped.merged == merged
    weight = np.random.default_rng(0).standard_normal(grouped.weight_shape)
    matrices = grouped.merge(weight)
    assert np.count_nonzero(matrices) == weight.size
    np.testing.assert_array_equal(grouped.part(matrices.reshape(grouped.shape)), weight)


def test_what_does_not_fit_is_an_error() -> None:
    x, weight = np.zeros((1, 4, 5, 2)), np.zeros((3, 3, 2, 2))
    with pytest.raises(ValueError, match=r"3 taps with dilation 2 does not fit 4 pixels with padding \(0, 0\)"):
        conv2d_forward(x, weight, None, dilation=2)
    grad, wrong = np.zeros((1, 3, 3, 2)), r"outputs are \(1, 2, 3\), their gradient \(1, 3, 3\)"
    with pytest.raises(ValueError, match=wrong):
        conv2d_input_gradient(grad, weight, (1, 4, 5, 2))
    with pytest.raises(ValueError, match=wrong):
        conv2d_weight_gradient(grad, x, (3, 3))
    with pytest.raises(ValueError, match="an output padding of 3 is neither below the stride 3 nor the dilation 2"):
        transposed_shape((4, 4), (3, 3), stride=3, output_padding=3, dilation=2)
    with pytest.raises(ValueError, match="leaves nothing"):
        transposed_shape((1, 4), (3, 3), padding=2)


def test_shared_work_is_done_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnlib.ops.threads.worker_count", lambda: 4)
    done: list[int] = []

    def work(drawn: Iterator[int]) -> None:
        for item in drawn:
            done.append(item)

    share(range(1000), work)
    assert sorted(done) == list(range(1000))


def test_an_error_of_any_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnlib.ops.threads.worker_count", lambda: 3)

    def work(drawn: Iterator[int]) -> None:
        for item in drawn:
            if item == 7:
                raise ArithmeticError("seven")

    with pytest.raises(ArithmeticError, match="seven"):
        share(range(9), work)


def test_threads_that_share_work_may_be_shared_out_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnlib.ops.threads.worker_count", lambda: 3)
    done: list[int] = []

    def inner(drawn: Iterator[int]) -> None:
        done.extend(drawn)

    def outer(drawn: Iterator[int]) -> None:
        for item in drawn:
            share(range(10 * item, 10 * item + 10), inner)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(share, range(20), outer).result(timeout=20)
    assert sorted(done) == list(range(200))
