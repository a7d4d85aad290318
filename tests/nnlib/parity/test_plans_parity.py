"""Convolution plans' tile programs against PyTorch: every plan, pass and precision over ragged shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nnlib.kernels.convolutions.convolution import PASSES, Convolution, Pass
from nnlib.kernels.convolutions.explicit import explicit, weight_from_channels_last, weight_to_channels_last
from nnlib.kernels.convolutions.plans import Task, build
from nnlib.kernels.generations import Library
from nnlib.kernels.implicit.implicit_batch import BatchSizeAware
from nnlib.kernels.implicit.implicit_image import ImplicitImage
from nnlib.kernels.implicit.implicit_single import SingleBuffered
from nnlib.kernels.implicit.pixel_major import images_to_channels_last, images_to_pixel_major, swap_weight_order
from nnlib.kernels.kernel import InfeasiblePlan, Kernel
from nnlib.kernels.launch import Launch, compute_launches
from nnlib.kernels.order import from_channels_last, to_channels_last
from nnlib.kernels.winograd.winograd import winograd
from nnlib.precision import DTYPES, DTypeName
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.launches import with_ldm
from tests.nnlib.parity import Array, check_same, hwio, nchw, nhwc, oihw

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric, pytest.mark.slow]
IN: Final[dict[Pass, tuple[str, str]]] = {
    "forward": ("x", "weight"),
    "input_gradient": ("grad_y", "weight"),
    "weight_gradient": ("grad_y", "x"),
}
OUT: Final[dict[Pass, str]] = {"forward": "y", "input_gradient": "grad_x", "weight_gradient": "grad_weight"}


@dataclass(frozen=True)
class Plan:
    """A plan of a library, on arrays in an order."""

    name: str
    library: Library = "autotuned-2019"
    order: str = "channels-last"

    @property
    def words(self) -> str:
        return f"{self.name} {self.library} {self.order}"

    def launches(self, task: Task, processor: ProcessorSpec) -> tuple[Launch, ...]:
        convolution, which, dtype = task.convolution, task.which, task.dtype
        if self.name == "single-buffered":
            return (Launch.of(SingleBuffered(convolution=convolution, which=which, dtype=dtype)),)
        if self.name == "batch-size-aware":
            # as it is: the plan of a share leaves out rows of the images that no output sees
            kernel = BatchSizeAware(convolution=convolution, which=which, dtype=dtype, library=task.library)
            return (Launch.of(kernel),)
        if self.order == "channels-first":
            if self.name == "explicit":
                return explicit(convolution, which, dtype=dtype, order=self.order)
            return winograd(convolution, which, dtype=dtype, processor=processor, order=self.order)
        return build(self.name, task, processor)

    def tolerance(self, dtype: DTypeName) -> float:
        if dtype == "fp64":
            return 1e-12
        return 1e-4 if self.name == "winograd" else 1e-5


PLANS: Final = (
    Plan("direct", "naive"),
    Plan("dma", "naive"),
    Plan("batch-size-aware", "swdnn-2016", "pixel-major"),
    Plan("batch-size-aware", "autotuned-2019", "pixel-major"),
    Plan("image-size-aware", "swdnn-2017", "plan's"),
    Plan("image-size-aware", "autotuned-2019", "plan's"),
    Plan("single-buffered", "swcaffe-2018", "pixel-major"),
    Plan("explicit", "swcaffe-2018"),
    Plan("explicit"),
    Plan("explicit", order="channels-first"),
    Plan("winograd"),
    Plan("winograd", order="channels-first"),
    Plan("depthwise"),
)


@st.composite
def convolutions(draw: st.DrawFn, plan: Plan) -> Convolution:
    """Ragged against mesh and vectors; as many strides, groups and so on as the plan can do."""
    groups, stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kr, kc, padding = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    if plan.name == "winograd":
        kr = kc = 3
        stride = dilation = 1
    if plan.name == "single-buffered":
        stride = 1
    if plan.name == "single-buffered" or plan == Plan("winograd", order="channels-first"):
        groups = 1
    most = 13
    if plan.name == "depthwise":
        groups, most = draw(st.integers(1, 40)), 1
    ri, ci = (draw(st.integers(max(1, dilation * (k - 1) + 1 - 2 * padding), 9)) for k in (kr, kc))
    return Convolution(
        batch=draw(st.integers(1, 10)),
        ni=groups * draw(st.integers(1, most)),
        no=groups * draw(st.integers(1, most)),
        ri=ri,
        ci=ci,
        kr=kr,
        kc=kc,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def stored(plan: Plan, kernel: Kernel, name: str, array: Array) -> Array:
    """Images channels last or weights (kr, kc, ni, no) as the plan takes them."""
    weight = name == "weight"
    if plan.order == "channels-last" or (weight and plan.name == "winograd"):
        return array
    if plan.order == "channels-first":
        convert = weight_from_channels_last if weight else from_channels_last
        return convert("channels-first", array)
    if weight:
        return swap_weight_order(array)
    if isinstance(kernel, ImplicitImage):
        images = kernel.task.images(kernel.plan.order)[0 if name == "x" else 1]
        more = images.stored_batch - len(array)
        return images.stored(np.pad(array, [(0, more), (0, 0), (0, 0), (0, 0)]))
    return images_to_pixel_major(array)


def result(plan: Plan, shape: Convolution, kernel: Kernel, name: str, array: Array) -> Array:
    """What the plan wrote as images channels last or weights (kr, kc, ni, no)."""
    weight = name == "grad_weight"
    if plan.order == "channels-last" or (weight and plan.name == "winograd"):
        return array
    if plan.order == "channels-first":
        if weight:
            kr, kc, ni, no = shape.weight_shape
            return weight_to_channels_last("channels-first", array.reshape(no, ni, kr, kc))
        rows, columns, channels = (shape.x_shape if name == "grad_x" else shape.y_shape)[1:]
        return to_channels_last("channels-first", array.reshape(channels, shape.batch, rows, columns))
    if weight:
        return swap_weight_order(array)
    if isinstance(kernel, ImplicitImage):
        images = kernel.task.images(kernel.plan.order)[0 if name == "grad_x" else 1]
        return images.channels_last(array)[: shape.batch]
    return images_to_channels_last(array)


def theirs(shape: Convolution, arrays: dict[str, Array], which: Pass) -> Array:
    """PyTorch's answer."""
    x = torch.from_numpy(nchw(arrays["x"])).requires_grad_()
    weight = torch.from_numpy(oihw(arrays["weight"])).requires_grad_()
    options = {"stride": shape.stride, "padding": shape.padding, "dilation": shape.dilation, "groups": shape.groups}
    y = F.conv2d(x, weight, **options)
    if which == "forward":
        return nhwc(y.detach().numpy())
    y.backward(torch.from_numpy(nchw(arrays["grad_y"])))
    return nhwc(x.grad.numpy()) if which == "input_gradient" else hwio(weight.grad.numpy())


@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.words)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(data=st.data(), seed=st.integers(0, 1 << 30))
def test_the_tile_program_computes_pytorchs_convolution(
    plan: Plan, which: Pass, dtype: DTypeName, data: st.DataObject, seed: int
) -> None:
    shape = data.draw(convolutions(plan))
    processor = with_ldm(data.draw(st.sampled_from([4096, 65_536])))
    numbers = np.random.default_rng(seed)
    shapes = {"x": shape.x_shape, "weight": shape.weight_shape, "grad_y": shape.y_shape}
    inputs = {name: numbers.standard_normal(each).astype(DTYPES[dtype]) for name, each in shapes.items()}
    task = Task(convolution=shape, which=which, dtype=dtype, library=plan.library)
    try:
        launches = plan.launches(task, processor)
        kernel = launches[0].kernel
        arrays = {name: stored(plan, kernel, name, inputs[name]) for name in IN[which]}
        compute_launches(launches, processor=processor, arrays=arrays)
    except InfeasiblePlan:
        assume(False)
    expected = theirs(shape, inputs, which)
    found = result(plan, shape, kernel, OUT[which], arrays[OUT[which]]).reshape(expected.shape)
    check_same(found, expected, which, tolerance=plan.tolerance(dtype))
