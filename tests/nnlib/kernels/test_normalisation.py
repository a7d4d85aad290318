"""Normalisation in tiles: equal to whole arrays and to the layers' numerics in any LDM, near the bandwidth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import InfeasiblePlan, Kernel
from nnlib.kernels.launch import Launch, compute_launches
from nnlib.kernels.normalisation.batch_normalisation import BatchStatistics
from nnlib.kernels.normalisation.batch_normalisation_gradient import BatchNormalisationGradient, NormalisationSums
from nnlib.kernels.normalisation.group_normalisation import GroupNormalisation, GroupShape
from nnlib.kernels.normalisation.group_normalisation_gradient import GroupNormalisationGradient
from nnlib.kernels.normalisation.local_response import (
    LocalResponseNormalisation,
    LocalResponseNormalisationGradient,
    ResponseWindow,
)
from nnlib.kernels.normalisation.normalisation_builds import (
    batch_norm,
    batch_norm_gradient,
    group_norm_gradient,
    row_norm_gradient,
)
from nnlib.kernels.normalisation.scale_shift import FoldStatistics, ScaleShift
from nnlib.kernels.simulation import simulate
from nnlib.ops.group_normalisation import (
    group_norm_backward,
    group_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
)
from nnlib.ops.normalisation import batch_norm_backward, batch_norm_forward
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array, MemoryUse
from sim.machine.load import load_machine
from sim.time import seconds_from_ticks
from tests.nnlib.kernels.launches import with_ldm
from tests.nnlib.kernels.normalisations import normalisations
from tests.nnlib.kernels.tiles import TOLERANCE, check_tiles, relative_error
from tests.nnlib.kernels.waits import check_every_wait

dtypes = pytest.mark.parametrize("dtype", ["fp64", pytest.param("fp32", marks=pytest.mark.slow)])
Make = Callable[[int, int, DTypeName], Kernel]

OVER_ROWS: dict[str, Make] = {
    "statistics": BatchStatistics,
    "scale and shift": ScaleShift,
    "scale": lambda rows, channels, dtype: ScaleShift(rows, channels, dtype, shifted=False),
    "sums": NormalisationSums,
    "sums by row": lambda rows, channels, dtype: NormalisationSums(rows, channels, dtype, "row"),
    "sums without means": lambda rows, channels, dtype: NormalisationSums(rows, channels, dtype, "row", centred=False),
    "batch gradient": BatchNormalisationGradient,
    "fold": lambda rows, channels, dtype: FoldStatistics(channels, dtype, 1e-3, momentum=0.1, count=rows + 1),
    "local response": lambda rows, channels, dtype: LocalResponseNormalisation(
        rows, channels, ResponseWindow(size=4, alpha=2.0), dtype
    ),
    "local response gradient": lambda rows, channels, dtype: LocalResponseNormalisationGradient(
        rows, channels, ResponseWindow(alpha=2.0, beta=0.6), dtype
    ),
    "layer": lambda rows, channels, dtype: GroupNormalisation(
        GroupShape(batch=rows, pixels=1, channels=channels), dtype, 1e-5
    ),
    "layer gradient": lambda rows, channels, dtype: GroupNormalisationGradient(
        GroupShape(batch=rows, pixels=1, channels=channels), dtype
    ),
    "root mean square": lambda rows, channels, dtype: GroupNormalisation(
        GroupShape(batch=rows, pixels=1, channels=channels, centred=False), dtype, 1e-5
    ),
}
GROUPS = {
    "small images": GroupShape(batch=70, pixels=9, channels=12, groups=3),
    "ragged groups": GroupShape(batch=3, pixels=20, channels=22, groups=11),
    "images beyond the LDM": GroupShape(batch=2, pixels=701, channels=36, groups=4),
    "wide groups beyond the LDM": GroupShape(batch=2, pixels=7, channels=1030, groups=2),
    "no parameters": GroupShape(batch=5, pixels=33, channels=10, groups=2, affine=False),
    "not centred": GroupShape(batch=5, pixels=33, channels=10, groups=2, centred=False),
}


@pytest.mark.numeric
@dtypes
@pytest.mark.parametrize(
    "shape",
    [(330, 7), *(pytest.param(each, marks=pytest.mark.slow) for each in [(1, 1), (130, 70), (70, 1100)])],
    ids=str,
)
@pytest.mark.parametrize("name", OVER_ROWS)
def test_kernels_over_rows_compute_the_reference(name: str, shape: tuple[int, int], dtype: DTypeName) -> None:
    kernel = OVER_ROWS[name](*shape, dtype)
    processor = with_ldm(4096)
    assert check_tiles(kernel, processor) == KernelClock(processor).time(kernel)


@pytest.mark.slow
@pytest.mark.numeric
@dtypes
@pytest.mark.parametrize(
    ("name", "ldm"),
    [(name, ldm) for name in GROUPS for ldm in (2048, 16384, 65536) if (name, ldm) != ("images beyond the LDM", 2048)],
)
def test_groups_compute_the_reference(name: str, ldm: int, dtype: DTypeName) -> None:
    processor = with_ldm(ldm)
    kernels: list[Kernel] = [GroupNormalisation(GROUPS[name], dtype, 1e-5)]
    kernels += [GroupNormalisationGradient(GROUPS[name], dtype, sums) for sums in (False, True)]
    for kernel in kernels:
        timing = check_tiles(kernel, processor)
        assert timing == KernelClock(processor).time(kernel)
        assert timing.ldm_high_water <= ldm


@pytest.mark.slow
@pytest.mark.numeric
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(kernel=normalisations, ldm=st.sampled_from([1024, 2048, 8192]), shared=st.booleans())
def test_any_shape_in_any_ldm(kernel: Kernel, ldm: int, shared: bool) -> None:
    """Also with loops cut short, to the tick."""
    processor = with_ldm(ldm)
    memory = MemoryUse(mode="shared", active=4, base_offset=16) if shared else MemoryUse()
    try:
        check_tiles(kernel, processor)
    except InfeasiblePlan:
        assume(False)
    cut = simulate(kernel, processor=processor, memory=memory)
    assert cut == simulate(kernel, processor=processor, memory=memory, plainly=True)


@pytest.mark.numeric
@dtypes
@pytest.mark.parametrize("around", [0.0, 1e3, -3e3])
def test_statistics_are_stable_far_from_zero(dtype: DTypeName, around: float) -> None:
    """A sum of squares would have lost all digits of the variance."""
    rows, channels = 5000, 9
    kernel = BatchStatistics(rows, channels, dtype)
    exact = np.random.default_rng(0).integers(-8, 9, (rows, channels)) / 8.0  # with ``around``, exact in fp32, too
    arrays = {"x": (exact + around).astype(DTYPES[dtype]), "mean": np.zeros(channels), "variance": np.zeros(channels)}
    arrays = {name: array.astype(DTYPES[dtype]) for name, array in arrays.items()}
    simulate(kernel, processor=with_ldm(4096), data=arrays)
    tolerance = 1e-11 if dtype == "fp64" else 1e-4
    assert relative_error(arrays["variance"], exact.var(axis=0)) <= tolerance
    assert relative_error(arrays["mean"], exact.mean(axis=0) + around) <= TOLERANCE[dtype] * 10


def computed(launches: tuple[Launch, ...], arrays: dict[str, Array]) -> dict[str, Array]:
    compute_launches(launches, processor=with_ldm(8192), arrays=arrays)
    return arrays


def normal(dtype: DTypeName, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(shape).astype(DTYPES[dtype]) for shape in shapes]


@pytest.mark.numeric
@dtypes
def test_the_launches_of_batch_normalisation_are_the_layers_numerics(dtype: DTypeName) -> None:
    sizes = {"rows": 300, "columns": 11}
    x, grad, gamma, beta = normal(dtype, (300, 11), (300, 11), (11,), (11,))
    state = {"running_mean": np.zeros(11, DTYPES[dtype]), "running_variance": np.ones(11, DTYPES[dtype])}
    arrays = computed(batch_norm(sizes, dtype), {"x": x, "gamma": gamma, "beta": beta, **state})
    y, statistics = batch_norm_forward(x, gamma, beta, epsilon=1e-5)
    running = statistics.running(np.zeros(11), np.ones(11), momentum=0.1)
    found = computed(batch_norm_gradient(sizes, dtype), {**arrays, "grad_y": grad})
    expected = {
        "y": y,
        **dict(zip(("new_mean", "new_variance"), running, strict=True)),
        **dict(
            zip(("grad_x", "grad_gamma", "grad_beta"), batch_norm_backward(grad, x, gamma, statistics), strict=True)
        ),
    }
    for name, array in expected.items():
        assert relative_error(found[name], array) <= TOLERANCE[dtype], name


@pytest.mark.numeric
@dtypes
@pytest.mark.parametrize("grouped", [False, True], ids=["layer", "group"])
def test_the_launches_within_samples_are_the_layers_numerics(grouped: bool, dtype: DTypeName) -> None:
    if grouped:
        sizes = {"batch": 5, "rows": 40, "count": 3, "columns": 4}
        shape = GroupShape(batch=5, pixels=40, channels=12, groups=3)
    else:
        sizes = {"rows": 90, "columns": 70}
        shape = GroupShape(batch=90, pixels=1, channels=70)
    x, grad, gamma, beta = normal(dtype, shape.array, shape.array, (shape.channels,), (shape.channels,))
    forward = (Launch.of(GroupNormalisation(shape, dtype, 1e-5)),)
    arrays = computed(forward, {"x": x, "gamma": gamma, "beta": beta, "grad_y": grad})
    if grouped:
        y, statistics = group_norm_forward(x, gamma, beta, groups=3, epsilon=1e-5)
        expected = group_norm_backward(grad, x, gamma, statistics, groups=3)
        found = computed(group_norm_gradient(sizes, dtype), arrays)
    else:
        y, statistics = layer_norm_forward(x, gamma, beta, epsilon=1e-5)
        expected = layer_norm_backward(grad, x, gamma, statistics)
        found = computed(row_norm_gradient(sizes, dtype, centred=True), arrays)
    for name, array in zip(("y", "grad_x", "grad_gamma", "grad_beta"), (y, *expected), strict=True):
        assert relative_error(found[name].reshape(array.shape), array) <= TOLERANCE[dtype], name


WAITS: list[Kernel] = [
    BatchStatistics(300, 140, "fp64"),
    NormalisationSums(300, 40, "fp64"),
    BatchNormalisationGradient(300, 40, "fp64"),
    GroupNormalisation(GROUPS["small images"], "fp32", 1e-5),
    GroupNormalisation(GroupShape(batch=2, pixels=70, channels=12, groups=2), "fp64", 1e-5),
    GroupNormalisationGradient(GroupShape(batch=1, pixels=9, channels=24), "fp64", sums=True),
    GroupNormalisationGradient(GroupShape(batch=1, pixels=3, channels=70), "fp64", sums=True),
    LocalResponseNormalisationGradient(300, 60, ResponseWindow(), "fp64"),
]


@pytest.mark.timing
@pytest.mark.parametrize("kernel", WAITS[:1] + [pytest.param(each, marks=pytest.mark.slow) for each in WAITS[1:]])
def test_every_wait_is_needed(kernel: Kernel) -> None:
    check_every_wait(kernel, with_ldm(2048), more_than=3)


@pytest.mark.slow
@pytest.mark.timing
@dtypes
def test_a_pass_over_large_arrays_is_near_the_bandwidth(dtype: DTypeName) -> None:
    """The numbers go over the bus once for each array, and hardly wait for anything else."""
    processor = load_machine("sunway_taihulight").processor
    rows, channels = 8 * 56 * 56, 256
    layer = GroupShape(batch=rows, pixels=1, channels=channels)
    for kernel in (
        BatchStatistics(rows, channels, dtype),
        ScaleShift(rows, channels, dtype),
        NormalisationSums(rows, channels, dtype),
        BatchNormalisationGradient(rows, channels, dtype),
        GroupNormalisation(layer, dtype, 1e-5),
        GroupNormalisationGradient(layer, dtype),
    ):
        timing = KernelClock(processor).time(kernel)
        large = sum(len(each.shape) > 1 and each.shape[-1] > 1 for each in kernel.parameters())
        moved = timing.get_bytes + timing.put_bytes
        once = large * rows * channels * DTYPES[dtype].itemsize
        assert once <= moved < 1.15 * once, kernel
        seconds = seconds_from_ticks(timing.ticks, clock_hertz=processor.clock_hertz)
        lines = moved / processor.dma.line_bytes
        assert seconds < 1.3 * lines * processor.dma.line_seconds, kernel


def test_groups_that_do_not_divide_and_a_batch_of_one_number_are_refused() -> None:
    with pytest.raises(ValueError, match="7 channels do not divide into 2 groups"):
        GroupShape(batch=1, pixels=1, channels=7, groups=2)
    with pytest.raises(ValueError, match="more than 1 numbers"):
        FoldStatistics(3, "fp64", 1e-5, momentum=0.1, count=1)


@pytest.mark.parametrize(
    "kernel",
    [
        BatchStatistics(8, 3, "fp64"),
        ScaleShift(8, 3, "fp64"),
        NormalisationSums(8, 3, "fp64"),
        BatchNormalisationGradient(8, 3, "fp64"),
        GroupNormalisation(GroupShape(batch=8, pixels=1, channels=3), "fp64", 1e-5),
        GroupNormalisationGradient(GroupShape(batch=8, pixels=1, channels=3), "fp64"),
        LocalResponseNormalisation(8, 3, ResponseWindow(), "fp64"),
    ],
    ids=lambda kernel: kernel.name,
)
def test_an_ldm_for_no_tile_is_an_error_with_sizes(kernel: Kernel) -> None:
    with pytest.raises(InfeasiblePlan) as caught:
        KernelClock(with_ldm(96)).time(kernel)
    assert caught.value.needed > caught.value.available == 96
