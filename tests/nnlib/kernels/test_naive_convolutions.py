"""Convolutions without sharing: numbers of the reference, times that do not depend on them, loads that are counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.convolutions.convolution import PASSES, Convolution, Pass
from nnlib.kernels.convolutions.direct import DirectConvolution
from nnlib.kernels.convolutions.dma_convolution import DmaConvolution
from nnlib.kernels.kernel import InfeasiblePlan, UnsuitablePlan
from nnlib.kernels.simulation import empty_arrays, simulate
from nnlib.precision import DTypeName
from sim.chip.errors import UnalignedAccess
from sim.chip.memory import Array, MemoryUse
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.waits import check_every_wait

Naive = DirectConvolution | DmaConvolution


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    """Strided, padded, dilated, grouped, and ragged against every part."""
    groups = draw(st.integers(1, 3))
    kr, kc, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    return Convolution(
        batch=draw(st.integers(1, 9)),
        ni=groups * draw(st.integers(1, 9)),
        no=groups * draw(st.integers(1, 9)),
        ri=draw(st.integers(dilation * (kr - 1) + 1, 8)),
        ci=draw(st.integers(dilation * (kc - 1) + 1, 8)),
        kr=kr,
        kc=kc,
        stride=draw(st.integers(1, 3)),
        padding=draw(st.integers(0, 2)),
        dilation=dilation,
        groups=groups,
    )


dma_kernels = st.builds(
    DmaConvolution,
    convolution=convolutions(),
    which=st.sampled_from(PASSES),
    dtype=st.sampled_from(["fp64", "fp32"]),
    vectorised=st.booleans(),
    overlapped=st.booleans(),
)
direct_kernels = st.builds(
    DirectConvolution,
    convolution=convolutions(),
    which=st.sampled_from(PASSES),
    dtype=st.sampled_from(["fp64", "fp32"]),
)


def data_for(kernel: Naive) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    arrays = empty_arrays(kernel)
    for parameter in kernel.parameters():
        if parameter.use == "in":
            arrays[parameter.name][...] = rng.standard_normal(parameter.shape)
    return arrays


def check_numbers(kernel: Naive, processor: ProcessorSpec) -> None:
    data = data_for(kernel)
    expected = {name: array.copy() for name, array in data.items()}
    kernel.reference(expected)
    timing = simulate(kernel, processor=processor, data=data)
    for name, array in data.items():
        scale = float(np.max(np.abs(expected[name]))) or 1.0
        error = float(np.max(np.abs(array - expected[name]))) / scale
        assert error <= (1e-12 if kernel.dtype == "fp64" else 1e-5), (kernel, name)
    assert simulate(kernel, processor=processor) == timing
    assert timing.flops == kernel.convolution.flops
    for cpe, total in enumerate(zip(*timing.reasons.values(), strict=True)):
        assert sum(total) == timing.ticks, f"the reasons of CPE {cpe} leave a gap"


@pytest.mark.slow
@pytest.mark.numeric
@settings(max_examples=25, deadline=None)
@given(kernel=st.one_of(dma_kernels, direct_kernels))
def test_tiles_compute_the_reference_in_the_same_time(kernel: Naive) -> None:
    check_numbers(kernel, load_machine("sunway_taihulight").processor)


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("which", PASSES)
def test_parts_smaller_than_the_product_and_more_of_them_than_cpes(which: Pass, processor: ProcessorSpec) -> None:
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=1536))
    many = Convolution(batch=37, ni=42, no=38, ri=3, ci=4, kr=2, kc=3, padding=1, groups=2)
    for overlapped in (False, True):
        kernel = DmaConvolution(convolution=many, which=which, dtype="fp64", overlapped=overlapped)
        assert kernel.plan(small).m < 37
        check_numbers(kernel, small)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("overlapped", [False, True])
@pytest.mark.parametrize("which", PASSES)
def test_every_wait_is_needed(which: Pass, overlapped: bool, processor: ProcessorSpec) -> None:
    convolution = Convolution(batch=5, ni=6, no=7, ri=4, ci=3, kr=2, kc=2, padding=1)
    kernel = DmaConvolution(convolution=convolution, which=which, dtype="fp64", overlapped=overlapped)

    check_every_wait(kernel, processor, more_than=3)


@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("overlapped", [False, True])
def test_the_planned_ldm_is_what_is_allocated(overlapped: bool, dtype: DTypeName, processor: ProcessorSpec) -> None:
    convolution = Convolution(batch=128, ni=96, no=160, ri=3, ci=3, kr=3, kc=3)
    kernel = DmaConvolution(convolution=convolution, which="forward", dtype=dtype, overlapped=overlapped)
    part, item = kernel.plan(processor), 8 if dtype == "fp64" else 4
    operands = item * (part.m * part.k + part.k * part.n)
    expected = (2 if overlapped else 1) * operands + item * part.m * part.n
    assert simulate(kernel, processor=processor).ldm_high_water == expected <= processor.cpe.ldm_bytes


def test_what_does_not_fit_or_suit_is_an_error_with_the_reason(processor: ProcessorSpec) -> None:
    convolution = Convolution(batch=8, ni=8, no=6, ri=3, ci=3, kr=3, kc=3)
    tiny = replace(processor, cpe=replace(processor.cpe, ldm_bytes=128))
    with pytest.raises(InfeasiblePlan) as caught:
        simulate(DmaConvolution(convolution=convolution, which="forward", dtype="fp64"), processor=tiny)
    assert caught.value.needed > caught.value.available == 128
    vectorised = DirectConvolution(convolution=convolution, which="forward", dtype="fp64", vectorised=True)
    with pytest.raises(UnsuitablePlan, match="vectors of 4 need channels in multiples of 4 in each group, not 8 and 6"):
        simulate(vectorised, processor=processor)
    even = replace(vectorised, convolution=replace(convolution, no=8))
    simulate(even, processor=processor)
    with pytest.raises(UnalignedAccess, match=r"kernel 'conv2d_forward_direct', CPE \(0, 0\) accesses 'weight'"):
        simulate(even, processor=processor, memory=MemoryUse(base_offset=16))


@pytest.mark.timing
@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize(("vectorised", "transactions"), [(False, 2.0), (True, 0.5)])
def test_direct_loads_two_operands_for_every_product(
    vectorised: bool, transactions: float, which: Pass, processor: ProcessorSpec
) -> None:
    convolution = Convolution(batch=4, ni=16, no=16, ri=8, ci=8, kr=3, kc=3)
    kernel = DirectConvolution(convolution=convolution, which=which, dtype="fp64", vectorised=vectorised)
    timing = simulate(kernel, processor=processor)
    products = convolution.flops // 2
    # beside the loads the outputs are few
    assert timing.dma_lines == pytest.approx(transactions * products, rel=0.05)
    rate = timing.dma_lines * processor.dma.line_seconds * processor.clock_hertz * 1000
    assert timing.ticks >= rate


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("overlapped", [False, True])
@pytest.mark.parametrize(
    ("which", "convolution"),
    [
        ("weight_gradient", Convolution(batch=20, ni=20, no=8, ri=18, ci=8, kr=3, kc=3, dilation=2)),
        ("input_gradient", Convolution(batch=2, ni=8, no=5, ri=18, ci=7, kr=1, kc=1, stride=2, dilation=2)),
        ("forward", Convolution(batch=33, ni=3, no=16, ri=20, ci=12, kr=2, kc=2, stride=1)),
    ],
)
def test_skipping_is_exact_in_every_pass(
    which: Pass, convolution: Convolution, overlapped: bool, processor: ProcessorSpec
) -> None:
    kernel = DmaConvolution(convolution=convolution, which=which, dtype="fp32", overlapped=overlapped)
    assert simulate(kernel, processor=processor) == simulate(kernel, processor=processor, plainly=True)


@pytest.mark.timing
@pytest.mark.parametrize(("overlapped", "rows"), [(False, 10), (True, 10)])
def test_skipped_rows_cost_what_simulated_rows_cost(overlapped: bool, rows: int, processor: ProcessorSpec) -> None:
    convolution = Convolution(batch=32, ni=32, no=32, ri=rows + 2, ci=14, kr=3, kc=3, padding=1)
    kernel = DmaConvolution(convolution=convolution, which="forward", dtype="fp64", overlapped=overlapped)
    fast = simulate(kernel, processor=processor)
    assert fast == simulate(kernel, processor=processor, plainly=True)
    assert any(loop.period for loop in fast.loops)
