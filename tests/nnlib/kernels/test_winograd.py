"""Winograd's algorithm: every kernel against its reference, the whole plan against the convolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.batched import Batched
from nnlib.kernels.convolutions.channel_groups import CopyColumns
from nnlib.kernels.convolutions.convolution import PASSES, Convolution, Pass, forward, input_gradient, weight_gradient
from nnlib.kernels.implicit.resident_plan import plan_resident
from nnlib.kernels.kernel import InfeasiblePlan, Kernel, UnsuitablePlan
from nnlib.kernels.launch import compute_launches
from nnlib.kernels.order import Order, from_channels_last, to_channels_last
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.simulation import simulate
from nnlib.kernels.winograd.winograd import winograd
from nnlib.kernels.winograd.winograd_filters import FilterToPlanes, PlanesToFilter
from nnlib.kernels.winograd.winograd_images import PixelsToPlanes, PlanesToPixels
from nnlib.kernels.winograd.winograd_product import ResidentProduct
from nnlib.kernels.winograd.winograd_tiles import Grid, Share
from nnlib.precision import DTypeName
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.tiles import check_tiles, relative_error
from tests.nnlib.kernels.waits import check_every_wait

ARRAYS: dict[Pass, tuple[str, str, str]] = {
    "forward": ("x", "weight", "y"),
    "input_gradient": ("grad_y", "weight", "grad_x"),
    "weight_gradient": ("grad_y", "x", "grad_weight"),
}
REFERENCES = {"forward": forward, "input_gradient": input_gradient, "weight_gradient": weight_gradient}
TOLERANCE = {"fp64": 1e-12, "fp32": 1e-4}
dtypes = st.sampled_from(["fp64", "fp32"])
orders = st.sampled_from(["channels-last", "channels-first"])


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


def convolution(**sizes: int) -> Convolution:
    return Convolution(**{"batch": 2, "ni": 3, "no": 5, "ri": 6, "ci": 7, "kr": 3, "kc": 3, "padding": 1, **sizes})


def check(
    shape: Convolution,
    which: Pass,
    dtype: DTypeName,
    processor: ProcessorSpec,
    *,
    order: Order = "channels-last",
    parts: int = 1,
) -> None:
    """Compute the plan in tiles, phase by phase on all its core groups, and compare with the reference."""
    rng = np.random.default_rng(1)
    first, second, result = ARRAYS[which]
    shapes = {"x": shape.x_shape, "grad_y": shape.y_shape, "weight": shape.weight_shape}
    kind = np.float64 if dtype == "fp64" else np.float32
    inputs = {name: rng.standard_normal(shapes[name]).astype(kind) for name in (first, second)}
    expected = REFERENCES[which](shape, inputs[first], inputs[second])
    arrays = {name: array if name == "weight" else from_channels_last(order, array) for name, array in inputs.items()}
    groups = [
        winograd(shape, which, dtype=dtype, processor=processor, order=order, share=Share(part, parts))
        for part in range(parts)
    ]
    for phase in zip(*groups, strict=True):
        compute_launches(phase, processor=processor, arrays=arrays)
    found = arrays[result]
    if which != "weight_gradient" and order == "channels-first":
        found = to_channels_last(order, found)
    assert relative_error(found.reshape(expected.shape), expected) <= TOLERANCE[dtype]


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    """Odd and even sizes, padding 0 to 2, groups."""
    groups, padding = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    return Convolution(
        batch=draw(st.integers(1, 3)),
        ni=groups * draw(st.integers(1, 5)),
        no=groups * draw(st.integers(1, 20)),
        ri=draw(st.integers(3, 9)),
        ci=draw(st.integers(3, 9)),
        kr=3,
        kc=3,
        padding=padding,
        groups=groups,
    )


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("which", PASSES)
@settings(max_examples=12, deadline=None)
@given(shape=convolutions(), dtype=dtypes)
def test_the_plan_computes_the_convolution(shape: Convolution, dtype: DTypeName, which: Pass) -> None:
    check(shape, which, dtype, load_machine("sunway_taihulight").processor)


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("which", PASSES)
@settings(max_examples=10, deadline=None)
@given(shape=convolutions(), dtype=dtypes)
def test_channels_may_lie_first(shape: Convolution, dtype: DTypeName, which: Pass) -> None:
    one = replace(shape, ni=shape.group_ni, no=shape.group_no, groups=1)
    check(one, which, dtype, load_machine("sunway_taihulight").processor, order="channels-first")


@pytest.mark.numeric
@pytest.mark.parametrize("order", ["channels-last", "channels-first"])
@pytest.mark.parametrize("which", ["forward", "input_gradient"])
@pytest.mark.parametrize("batch", [1, 3, 6])
def test_core_groups_share_one_convolution(batch: int, which: Pass, order: Order, processor: ProcessorSpec) -> None:
    check(convolution(batch=batch, ri=9), which, "fp64", processor, order=order, parts=4)


shares = st.sampled_from([Share(), Share(0, 4), Share(2, 4), Share(1, 3)])
grids = st.builds(Grid, st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
transforms: st.SearchStrategy[Kernel] = st.one_of(
    st.builds(
        PixelsToPlanes,
        grid=st.builds(Grid, st.integers(1, 5), st.integers(3, 9), st.integers(3, 9)),
        channels=st.integers(1, 70),
        padding=st.integers(0, 2),
        side=st.just("input"),
        dtype=dtypes,
        order=orders,
        share=shares,
    ),
    st.builds(
        PixelsToPlanes,
        grid=grids,
        channels=st.integers(1, 70),
        padding=st.just(0),
        side=st.just("output"),
        dtype=dtypes,
        order=orders,
        share=shares,
    ),
    st.builds(PlanesToPixels, grid=grids, channels=st.integers(1, 70), dtype=dtypes, order=orders, share=shares),
    st.builds(FilterToPlanes, ni=st.integers(1, 90), no=st.integers(1, 90), dtype=dtypes, rotated=st.booleans()),
    st.builds(PlanesToFilter, ni=st.integers(1, 90), no=st.integers(1, 90), dtype=dtypes),
)
products: st.SearchStrategy[Kernel] = st.one_of(
    st.builds(
        ResidentProduct,
        planes=st.just(5),
        m=st.integers(1, 300),
        n=st.integers(1, 300),
        k=st.integers(1, 150),
        dtype=dtypes,
        transpose_b=st.booleans(),
        order=orders,
        first=st.integers(0, 2),
        count=st.one_of(st.none(), st.integers(1, 3)),
        overlapped=st.booleans(),
    ),
    st.builds(
        Batched,
        kernel=st.builds(Gemm, m=st.integers(1, 40), n=st.integers(1, 40), k=st.integers(1, 40), dtype=dtypes),
        total=st.just(4),
        first=st.integers(0, 2),
        count=st.one_of(st.none(), st.integers(1, 2)),
    ),
    st.builds(
        CopyColumns,
        rows=st.integers(1, 200),
        columns=st.just(9),
        source_columns=st.integers(12, 20),
        target_columns=st.integers(15, 20),
        source_first=st.integers(0, 3),
        target_first=st.integers(0, 6),
        dtype=dtypes,
    ),
)


@pytest.mark.slow
@pytest.mark.numeric
@settings(max_examples=40, deadline=None)
@given(kernel=st.one_of(transforms, products))
def test_tiles_compute_the_reference_in_the_same_time(kernel: Kernel) -> None:
    processor = load_machine("sunway_taihulight").processor
    timing = check_tiles(kernel, processor, tolerance=TOLERANCE[kernel.dtype], partly=True)
    assert simulate(kernel, processor=processor).ticks == timing.ticks


LONG = [
    ResidentProduct(planes=4, m=3000, n=130, k=64, dtype="fp32", order="channels-last"),
    ResidentProduct(planes=4, m=3000, n=130, k=64, dtype="fp64", order="channels-first"),
    ResidentProduct(planes=4, m=3000, n=130, k=64, dtype="fp32", overlapped=False),
    PixelsToPlanes(grid=Grid(8, 20, 20), channels=64, padding=1, side="input", dtype="fp32"),
    PlanesToPixels(grid=Grid(8, 20, 20), channels=64, dtype="fp32", order="channels-first"),
]


@pytest.mark.timing
@pytest.mark.parametrize("kernel", LONG)
def test_skipped_iterations_take_the_time_of_plain_ones(kernel: Kernel, processor: ProcessorSpec) -> None:
    plain = simulate(kernel, processor=processor, plainly=True)
    quick = simulate(kernel, processor=processor)
    assert (quick.ticks, quick.get_bytes, quick.put_bytes, quick.flops) == (
        plain.ticks,
        plain.get_bytes,
        plain.put_bytes,
        plain.flops,
    )


ONE_OF_EACH = [
    ResidentProduct(planes=2, m=2000, n=20, k=30, dtype="fp32"),
    ResidentProduct(planes=2, m=2000, n=20, k=30, dtype="fp32", overlapped=False),
    ResidentProduct(planes=2, m=40, n=300, k=512, dtype="fp64", order="channels-first"),
    PixelsToPlanes(grid=Grid(70, 4, 5), channels=40, padding=1, side="input", dtype="fp64"),
    PlanesToPixels(grid=Grid(70, 4, 5), channels=40, dtype="fp64"),
    FilterToPlanes(ni=300, no=200, dtype="fp64"),
    PlanesToFilter(ni=300, no=200, dtype="fp64"),
    Batched(kernel=Gemm(m=60, n=60, k=60, dtype="fp64"), total=2),
    CopyColumns(rows=9000, columns=60, source_columns=120, target_columns=60, dtype="fp64"),
]


@pytest.mark.timing
@pytest.mark.parametrize("kernel", ONE_OF_EACH, ids=lambda kernel: kernel.name)
def test_every_wait_is_needed(kernel: Kernel, processor: ProcessorSpec) -> None:
    check_every_wait(kernel, processor, more_than=3)


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"kr": 5}, "the kernel is 5 × 3, not 3 × 3"),
        ({"stride": 2}, "the stride is 2, not 1"),
        ({"dilation": 2}, "the dilation is 2, not 1"),
        ({"padding": 3}, "the padding is 3, above 2"),
    ],
)
def test_what_the_algorithm_cannot_do_is_said_with_the_reason(
    sizes: dict[str, int], reason: str, processor: ProcessorSpec
) -> None:
    with pytest.raises(UnsuitablePlan) as caught:
        winograd(convolution(**sizes), "forward", dtype="fp64", processor=processor)
    assert caught.value.reason == reason


def test_groups_and_weight_gradients_have_their_limits(processor: ProcessorSpec) -> None:
    grouped = convolution(ni=4, no=4, groups=2)
    with pytest.raises(UnsuitablePlan, match="only where channels lie last"):
        winograd(grouped, "forward", dtype="fp64", processor=processor, order="channels-first")
    for shape, which in ((grouped, "forward"), (convolution(), "weight_gradient")):
        with pytest.raises(UnsuitablePlan, match="not divided among core groups"):
            winograd(shape, which, dtype="fp64", processor=processor, share=Share(0, 4))


def test_older_libraries_have_no_such_plan(processor: ProcessorSpec) -> None:
    with pytest.raises(UnsuitablePlan, match="library swcaffe-2018 has no such plan"):
        winograd(convolution(), "forward", dtype="fp32", processor=processor, library="swcaffe-2018")


@pytest.mark.numeric
@pytest.mark.parametrize("order", [pytest.param("channels-last", marks=pytest.mark.slow), "channels-first"])
@pytest.mark.parametrize("which", ["forward", "input_gradient"])
def test_weights_too_large_to_stay_are_loaded_again_and_again(
    which: Pass, order: Order, processor: ProcessorSpec
) -> None:
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=1024))
    shape = convolution(batch=1, ni=400, no=410, ri=3, ci=3)
    launches = winograd(shape, which, dtype="fp64", processor=small, order=order)
    assert [launch.kernel.name for launch in launches][2] == "batched_gemm"
    assert winograd(shape, which, dtype="fp64", processor=processor)[2].kernel.name == "resident_product"
    check(shape, which, "fp64", small, order=order)


def test_a_resident_tile_that_does_not_fit_is_an_error_with_sizes(processor: ProcessorSpec) -> None:
    product = ResidentProduct(planes=1, m=8, n=8, k=100_000, dtype="fp64")
    with pytest.raises(InfeasiblePlan) as caught:
        plan_resident(shape=product.shape, processor=processor)
    assert caught.value.needed > caught.value.available == processor.cpe.ldm_bytes


@pytest.mark.timing
def test_transfers_under_the_compute_save_time(processor: ProcessorSpec) -> None:
    product = ResidentProduct(planes=1, m=4000, n=128, k=128, dtype="fp32")
    alone = simulate(replace(product, overlapped=False), processor=processor)
    assert simulate(product, processor=processor).ticks < 0.9 * alone.ticks
