"""Fixed point: exact small cases of rounding, saturation, random words, steps, calibration and integer products."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.reducing.pooling import MaxPoolGradient
from nnlib.kernels.rows.softmax import SoftmaxCrossEntropy
from nnlib.kernels.window import Window
from nnlib.precision import DTYPES, NotFloating
from nnlib.precision.calibration import Calibration, Observer
from nnlib.precision.fixed import FixedPoint, dequantise, quantise, rounded
from nnlib.precision.formats import IntegerName, integer_limits
from nnlib.precision.integer import integer_conv2d, integer_matmul, quantised_bias, requantise
from nnlib.precision.random import threefry2x32, uniform
from nnlib.precision.scale import dynamic_step, step_for
from sim.machine.load import load_machine

pytestmark = pytest.mark.numeric

INTEGERS: tuple[IntegerName, ...] = ("int16", "int8")


class TestRandom:
    @pytest.mark.parametrize(
        ("key", "counter", "words"),
        [
            ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
            ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
            ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
        ],
    )
    def test_the_known_answers_of_random123(
        self, key: tuple[int, int], counter: tuple[int, int], words: tuple[int, int]
    ) -> None:
        found = threefry2x32(key, (np.array([counter[0]], np.uint32), np.array([counter[1]], np.uint32)))
        assert tuple(int(each[0]) for each in found) == words

    def test_a_place_has_its_number_whoever_asks(self) -> None:
        whole = uniform(12345 << 32 | 77, first=0, count=1001)
        for first, count in ((0, 1), (1, 1), (7, 12), (8, 13), (500, 501), (1000, 1), (3, 0)):
            assert np.array_equal(uniform(12345 << 32 | 77, first=first, count=count), whole[first : first + count])
        assert not np.array_equal(uniform(12345 << 32 | 78, first=0, count=1001), whole)
        assert not np.array_equal(uniform(12346 << 32 | 77, first=0, count=1001), whole)

    def test_the_numbers_are_even_and_independent(self) -> None:
        numbers = uniform(1, first=0, count=100_000)
        assert 0 < numbers.min() < numbers.max() < 1
        counts = np.bincount((numbers * 100).astype(int), minlength=100)
        assert ((counts - 1000) ** 2 / 1000).sum() < 148, "chi-square of 99 degrees of freedom at 0.1 %"
        assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.012
        other = uniform(2, first=0, count=100_000)
        assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.012


class TestRounding:
    def test_nearest_takes_ties_to_even(self) -> None:
        x = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.4999, -0.5001, 3.0]
        assert rounded(x, rounding="nearest").tolist() == [-2, -2, 0, 0, 2, 2, 0, -1, 3]

    def test_stochastic_goes_to_a_neighbour_and_is_right_on_average(self) -> None:
        for value in (0.0, 0.25, -0.25, 7.9, -3.1, 5.0):
            found = rounded(np.full(40_000, value), rounding="stochastic", key=9)
            assert set(np.unique(found)) <= {np.floor(value), np.ceil(value)}
            spread = np.sqrt((value % 1) * (1 - value % 1) / 40_000)
            assert abs(found.mean() - value) <= 4 * spread, value

    def test_updates_of_less_than_half_a_step_vanish_under_nearest_only(self) -> None:
        weight = {"nearest": np.zeros(1000), "stochastic": np.zeros(1000)}
        for step in range(100):
            for mode in ("nearest", "stochastic"):
                weight[mode] = rounded(weight[mode] + 0.1, rounding=mode, key=step)
        assert not weight["nearest"].any()
        assert weight["stochastic"].mean() == pytest.approx(10, abs=0.4)

    def test_a_part_of_an_array_rounds_as_in_the_whole(self) -> None:
        x = np.random.default_rng(0).standard_normal((7, 9))
        whole = rounded(x, rounding="stochastic", key=3)
        assert np.array_equal(rounded(x[2:5], rounding="stochastic", key=3, first=18), whole[2:5])


class TestQuantise:
    def test_saturation_is_counted_and_not_a_number_is_zero(self) -> None:
        x = np.array([126.4, 127.0, 127.5, 128.0, -128.0, -128.5, -128.6, 1e30, -np.inf, np.nan])
        q, outside = quantise(x, 1.0, "int8")
        assert q.dtype == np.int8
        assert q.tolist() == [126, 127, 127, 127, -128, -128, -128, 127, -128, 0]
        assert outside == 6, "127.5 rounds to 128, -128.5 to -128"

    @pytest.mark.parametrize("storage", INTEGERS)
    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 999), fraction=st.integers(-2, 12), shape=st.lists(st.integers(1, 5), max_size=3))
    def test_to_integers_and_back_is_within_half_a_step(
        self, storage: IntegerName, seed: int, fraction: int, shape: list[int]
    ) -> None:
        fixed = FixedPoint(storage, fraction)
        low, high = integer_limits(storage)
        x = np.random.default_rng(seed).uniform(low, high, shape) * fixed.step
        q, outside = quantise(x, fixed.step, storage)
        assert outside == 0
        back = dequantise(q, fixed.step, np.float64)
        assert np.abs(back - x).max() <= fixed.step / 2
        assert np.array_equal(quantise(back, fixed.step, storage)[0], q)

    def test_a_step_for_each_channel(self) -> None:
        x = np.array([[1.0, 10.0], [-2.0, 5.0]])
        q, _ = quantise(x, [0.5, 5.0], "int8")
        assert q.tolist() == [[2, 2], [-4, 1]]
        assert dequantise(q, [0.5, 5.0], np.float32).dtype == np.float32

    def test_names(self) -> None:
        assert FixedPoint("int16", 8).name == "Q8.8"
        assert FixedPoint("int8", 7).step == 2**-7


class TestSteps:
    @pytest.mark.parametrize("storage", INTEGERS)
    @settings(max_examples=50, deadline=None)
    @given(largest=st.floats(1e-30, 1e30))
    def test_the_smallest_power_of_two_at_which_the_largest_fits(self, storage: IntegerName, largest: float) -> None:
        step = float(step_for(largest, storage))
        top = integer_limits(storage)[1]
        assert np.frexp(step)[0] == 0.5
        assert Fraction(step) * top >= Fraction(largest) * (1 - Fraction(1, 2**50))
        assert Fraction(step) / 2 * top < Fraction(largest)

    def test_exact_powers_stay(self) -> None:
        assert float(step_for(127.0, "int8")) == 1
        assert float(step_for(127.5, "int8")) == 2
        assert float(step_for(0.0, "int8")) == 1
        assert float(step_for(10.0, "int8", power_of_two=False)) == 10 / 127
        assert step_for([127.0, 254.0], "int8").tolist() == [1, 2]
        assert dynamic_step([[1.0, -4.0], [0.5, 2.0]], "int8", granularity="channel").tolist() == [2**-6, 2**-4]
        for wrong in (-1.0, np.inf, np.nan):
            with pytest.raises(ValueError, match="finite"):
                step_for(wrong, "int8")


class TestCalibration:
    def test_max_and_percentile(self) -> None:
        values = np.concatenate([np.linspace(-1, 1, 999), [50.0]])
        assert Calibration().threshold(values, "int8") == 50
        assert Calibration(method="percentile", percentile=99).threshold(values, "int8") < 1.01
        assert Calibration().step(values, "int8") == 50 / 127
        assert Calibration(power_of_two=True).step(values, "int8") == 0.5
        with pytest.raises(ValueError, match="no values"):
            Calibration().threshold([], "int8")

    def test_mean_squared_error_cuts_outliers_off_where_that_is_better(self) -> None:
        rng = np.random.default_rng(0)
        values = np.concatenate([rng.standard_normal(20_000), [30.0]])

        def error(step: float) -> float:
            return float(np.mean((quantise(values, step, "int8")[0] * step - values) ** 2))

        best = Calibration(method="mse")
        assert best.threshold(values, "int8") < 30
        assert error(best.step(values, "int8")) < error(Calibration().step(values, "int8"))
        assert best.threshold(np.zeros(3), "int8") == 0
        bulk = rng.uniform(-1, 1, 5000)
        assert best.threshold(bulk, "int16") == pytest.approx(np.abs(bulk).max(), rel=0.02), "nothing to cut off"

    def test_channels_and_batches(self) -> None:
        weights = np.array([[[1.0, 10.0]], [[-2.0, 3.0]]])
        assert Calibration().channel_steps(weights, "int8").tolist() == [2 / 127, 10 / 127]
        observer = Observer()
        observer.see("x", [1.0, -3.0])
        observer.see("x", [[2.0]])
        observer.see("y", [127.0])
        assert observer.steps(Calibration(), "int8") == {"x": 3 / 127, "y": 1.0}


class TestProducts:
    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 999), size=st.tuples(*[st.integers(1, 40)] * 3), storage=st.sampled_from(INTEGERS))
    def test_matrix_products_are_those_of_64_bit_integers(
        self, seed: int, size: tuple[int, int, int], storage: IntegerName
    ) -> None:
        rng = np.random.default_rng(seed)
        m, n, k = size
        low, high = integer_limits(storage)
        a, b = (rng.integers(low, high + 1, shape).astype(storage) for shape in ((m, k), (k, n)))
        bias = rng.integers(-(2**31), 2**31, n).astype(np.int32)
        exact = a.astype(np.int64) @ b.astype(np.int64) + bias
        found = integer_matmul(a, b, bias)
        assert found.values.dtype == np.int32
        assert np.array_equal(found.values, np.clip(exact, -(2**31), 2**31 - 1))
        assert found.overflows == np.count_nonzero(exact != found.values)

    def test_sums_that_leave_32_bits_are_counted(self) -> None:
        a = np.full((2, 2), -(2**15), np.int16)
        a[1, 1] = 0
        found = integer_matmul(a, np.full((2, 1), -(2**15), np.int16))
        assert found.values.tolist() == [[2**31 - 1], [2**30]]
        assert found.overflows == 1

    def test_products_that_float64_cannot_sum_are_refused(self) -> None:
        deep = np.zeros((1, 2**23 + 1), np.int16)
        with pytest.raises(ValueError, match="53 bits"):
            integer_matmul(deep, deep.T)

    @pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 1)])
    def test_convolution(self, stride: int, padding: int) -> None:
        rng = np.random.default_rng(1)
        x = rng.integers(-128, 128, (3, 7, 6, 4)).astype(np.int8)
        w = rng.integers(-128, 128, (3, 2, 4, 5)).astype(np.int8)
        bias = rng.integers(-1000, 1000, 5).astype(np.int32)
        found = integer_conv2d(x, w, bias, stride=stride, padding=padding)
        padded = np.pad(x.astype(np.int64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 2), axis=(1, 2))[:, ::stride, ::stride]
        expected = np.einsum("bijckl,klco->bijo", windows, w.astype(np.int64)) + bias
        assert np.array_equal(found.values, expected)
        assert found.overflows == 0

    def test_requantise(self) -> None:
        sums = np.array([[100, -300], [500, 5]], np.int32)
        q, outside = requantise(sums, [0.5, 0.1], "int8")
        assert (q.tolist(), outside) == ([[50, -30], [127, 0]], 1)
        q, outside = requantise(sums, 1.0, "int8", relu=True)
        assert (q.tolist(), outside) == ([[100, 0], [127, 5]], 1), "what relu cuts off is no saturation"
        assert quantised_bias([1.0, -0.26], [0.5, 0.1]).tolist() == [2, -3]


@pytest.mark.parametrize(
    "kernel",
    [
        Gemm(m=8, n=8, k=8, dtype="int16"),  # type: ignore[arg-type]
        Elementwise("sgd", 100, "int8"),  # type: ignore[arg-type]
        SoftmaxCrossEntropy(rows=8, classes=3, dtype="int16"),  # type: ignore[arg-type]
        MaxPoolGradient(Window(2, 4, 4, 1, (2, 2), 2, 0), "int8"),  # type: ignore[arg-type]
    ],
    ids=lambda kernel: kernel.name,
)
def test_kernels_of_floating_point_numbers_refuse_integers(kernel: Gemm) -> None:
    with pytest.raises(NotFloating, match="floating-point numbers"):
        KernelClock(load_machine("sunway_taihulight").processor).time(kernel)
    with pytest.raises(KeyError):
        DTYPES["fp16"]  # type: ignore[index]
