"""Products of stacks of matrices: broadcast operands, summed results."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.products.stacked_gemm import StackedGemm
from nnlib.kernels.simulation import simulate
from nnlib.ops.matmul import matmul_backward, matmul_forward
from nnlib.precision import DTypeName
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.stacks import stacked_gemms
from tests.nnlib.kernels.tiles import check_tiles
from tests.nnlib.kernels.waits import check_every_wait


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize(
    ("sizes", "a", "b", "c"),
    [
        ((3, 2, 1), (2,), (2,), (2,)),
        ((33, 20, 9), (2, 3), (1, 3), (2, 3)),
        ((17, 11, 40), (3, 2), (3, 2), (1, 2)),
        ((600, 300, 200), (1,), (2,), (2,)),
    ],
    ids=["tiny", "ragged", "summed", "bigger than the LDM"],
)
def test_tiles_compute_the_reference(
    sizes: tuple[int, int, int],
    a: tuple[int, ...],
    b: tuple[int, ...],
    c: tuple[int, ...],
    dtype: DTypeName,
    processor: ProcessorSpec,
) -> None:
    m, n, k = sizes
    kernel = StackedGemm(gemm=Gemm(m=m, n=n, k=k, dtype=dtype), a_leading=a, b_leading=b, c_leading=c)
    timing = check_tiles(kernel, processor)
    assert timing.flops == 2 * m * n * k * int(np.prod(kernel.leading))


@pytest.mark.slow
@pytest.mark.numeric
@settings(max_examples=40, deadline=None)
@given(kernel=stacked_gemms())
def test_any_stack_computes_the_reference_in_the_same_time(kernel: StackedGemm) -> None:
    processor = load_machine("sunway_taihulight").processor
    assert KernelClock(processor).time(kernel) == check_tiles(kernel, processor)


@pytest.mark.numeric
def test_a_broadcast_operand_and_its_gradient(processor: ProcessorSpec) -> None:
    rng = np.random.default_rng(0)
    a, b, grad = rng.standard_normal((2, 3, 5, 7)), rng.standard_normal((3, 7, 4)), rng.standard_normal((2, 3, 5, 4))
    leading, one = (2, 3), (1, 3)
    arrays = {"a": a, "b": b[None], "c": np.full((*leading, 5, 4), np.nan)}
    gemm = Gemm(m=5, n=4, k=7, dtype="fp64")
    kernel = StackedGemm(gemm=gemm, a_leading=leading, b_leading=one, c_leading=leading)
    simulate(kernel, processor=processor, data=arrays)
    np.testing.assert_allclose(arrays["c"], matmul_forward(a, b), rtol=1e-12)
    gradient = {"a": a, "b": grad, "c": np.full((*one, 7, 4), np.nan)}
    gemm = Gemm(m=7, n=4, k=5, dtype="fp64", transpose_a=True)
    kernel = StackedGemm(gemm=gemm, a_leading=leading, b_leading=leading, c_leading=one)
    simulate(kernel, processor=processor, data=gradient)
    _, grad_b = matmul_backward(grad, a, b)
    np.testing.assert_allclose(gradient["c"][0], grad_b, rtol=1e-12)


@pytest.mark.timing
def test_every_wait_is_needed(processor: ProcessorSpec) -> None:
    gemm = Gemm(m=20, n=9, k=5, dtype="fp64")
    kernel = StackedGemm(gemm=gemm, a_leading=(2, 2), b_leading=(2, 1), c_leading=(1, 2))
    check_every_wait(kernel, processor, more_than=12)


def test_stacks_that_do_not_fit_are_an_error() -> None:
    gemm = Gemm(m=2, n=2, k=2, dtype="fp64")
    with pytest.raises(ValueError, match="do not fit"):
        StackedGemm(gemm=gemm, a_leading=(2,), b_leading=(3,), c_leading=(2,))
    with pytest.raises(ValueError, match="adds to none"):
        StackedGemm(
            gemm=Gemm(m=2, n=2, k=2, dtype="fp64", accumulate=True), a_leading=(2,), b_leading=(2,), c_leading=(2,)
        )
