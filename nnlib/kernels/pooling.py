"""Max pooling forward, over blocks of output pixels, and backward, over blocks of pixels with all windows on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.window import Boxes, ItemBox, ItemPlan, Items, Window, plan_items
from nnlib.ops.pooling import max_pool_backward, max_pool_forward
from nnlib.precision import DTYPES, DTypeName
from sim.chip.core_group import CoreGroup
from sim.chip.memory import Array, Shape
from sim.chip.pipeline import Body, stream_cycles
from sim.machine.spec import ProcessorSpec


@dataclass(frozen=True)
class MaxPool:
    """``y`` = the largest number under each window of ``x``."""

    window: Window
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "max_pool"

    def parameters(self) -> tuple[Parameter, ...]:
        window = self.window
        return (
            Parameter("x", (window.batch, window.height, window.width, window.channels), "in"),
            Parameter("y", (window.batch, window.out_height, window.out_width, window.channels), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        arrays["y"][...] = max_pool_forward(arrays["x"], self.window.kernel, self.window.stride)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        window = self.window
        items, image, pooled = _plan(self, core_group.processor)
        plan = items.plan
        body = Body(loads=window.taps, stores=1, arithmetic=2 * window.taps)
        elements = plan.rows * plan.columns * plan.channels

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            outs[0][:, 0] = max_pool_forward(ins[0][:, 0], window.kernel, window.stride)

        items.stream(
            core_group,
            self.name,
            inputs=[image.operand(arguments["x"])],
            outputs=[pooled.operand(arguments["y"])],
            cycles=stream_cycles(cpe=core_group.processor.cpe, body=body, elements=elements),
            run=run,
        )


@dataclass(frozen=True)
class MaxPoolGradient:
    """``grad_x``: each ``grad_y`` goes to the first largest pixel of its window."""

    window: Window
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "max_pool_gradient"

    def parameters(self) -> tuple[Parameter, ...]:
        window = self.window
        image = (window.batch, window.height, window.width, window.channels)
        pooled = (window.batch, window.out_height, window.out_width, window.channels)
        return (
            Parameter("x", image, "in"),
            Parameter("grad_y", pooled, "in"),
            Parameter("grad_x", image, "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        arrays["grad_x"][...] = max_pool_backward(arrays["x"], arrays["grad_y"], self.window.kernel, self.window.stride)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program: an item is a block of pixels; it gets all windows that touch it, and puts its own pixels.

        Maxima under windows across a border are found on both of its sides.
        """
        window = self.window
        plan = _plan_gradient(self, core_group.processor)
        rows, columns = plan.touching
        body = Body(loads=2 * window.taps + 1, stores=window.taps, arithmetic=4 * window.taps)
        elements = rows.windows * columns.windows * plan.items.plan.channels

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            x, grad, own = ins[0][:, 0], ins[1][:, 0], outs[0][:, 0]
            found = max_pool_backward(x, grad, window.kernel, window.stride)[:, rows.before :, columns.before :]
            found = found[:, : own.shape[1], : own.shape[2]]
            own[...] = 0  # strides may pass over the block's last pixels: no window reaches them
            own[:, : found.shape[1], : found.shape[2]] = found

        plan.items.stream(
            core_group,
            self.name,
            inputs=[plan.seen.operand(arguments["x"]), plan.pooled.operand(arguments["grad_y"])],
            outputs=[plan.own.operand(arguments["grad_x"])],
            cycles=stream_cycles(cpe=core_group.processor.cpe, body=body, elements=elements),
            run=run,
        )


@dataclass(frozen=True)
class _Touching:
    """The windows that touch a block of pixels along an axis.

    ``windows`` of them from the one ``first`` after the block's number of strides on; under them lie ``pixels`` pixels,
    ``before`` of these in front of the block.
    """

    windows: int
    first: int
    pixels: int
    before: int


def _touching(*, length: int, kernel: int, stride: int, block: int) -> _Touching:
    """The windows that touch ``block`` pixels, from a multiple of the stride on, of an axis ``length`` long."""
    if block >= length:
        return _Touching(windows=(length - kernel) // stride + 1, first=0, pixels=length, before=0)
    ahead = (kernel - 1) // stride
    windows = ahead + (block - 1) // stride + 1
    return _Touching(windows=windows, first=-ahead, pixels=(windows - 1) * stride + kernel, before=ahead * stride)


@dataclass(frozen=True, eq=False)
class _GradientPlan:
    """The items, the windows that touch one by rows and by columns, the pixels seen, their windows, its own pixels."""

    items: Items
    touching: tuple[_Touching, _Touching]
    seen: Boxes
    pooled: Boxes
    own: Boxes


@lru_cache(maxsize=64)
def _plan_gradient(kernel: MaxPoolGradient, processor: ProcessorSpec) -> _GradientPlan:
    """Blocks of pixels, cut in multiples of the stride. Raises InfeasiblePlan if the smallest does not fit the LDM."""
    window = kernel.window
    image, pooled = _shapes(kernel)
    (kh, kw), stride = window.kernel, window.stride

    def touching(plan: ItemPlan) -> tuple[_Touching, _Touching]:
        return (
            _touching(length=window.height, kernel=kh, stride=stride, block=plan.rows),
            _touching(length=window.width, kernel=kw, stride=stride, block=plan.columns),
        )

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox, ItemBox]:
        rows, columns = touching(plan)
        return (
            ItemBox((1, rows.pixels, columns.pixels, plan.channels), image),
            ItemBox((1, rows.windows, columns.windows, plan.channels), pooled),
            ItemBox((1, plan.rows, plan.columns, plan.channels), image),
        )

    items = plan_items(
        kernel=kernel.name,
        batch=window.batch,
        rows=window.height,
        columns=window.width,
        channels=window.channels,
        multiple=stride,
        item_bytes=DTYPES[kernel.dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )
    seen, under, own = boxes(items.plan)
    rows, columns = touching(items.plan)
    return _GradientPlan(
        items=items,
        touching=(rows, columns),
        seen=items.boxes(seen.size, lambda o: (o[0], o[1] - rows.before, o[2] - columns.before, o[3])),
        pooled=items.boxes(
            under.size, lambda o: (o[0], o[1] // stride + rows.first, o[2] // stride + columns.first, o[3])
        ),
        own=items.boxes(own.size, tuple),
    )


def _reach(window: Window, plan: ItemPlan) -> tuple[int, int]:
    """Image rows and columns under the windows of an item."""
    return (
        (plan.rows - 1) * window.stride + window.kernel[0],
        (plan.columns - 1) * window.stride + window.kernel[1],
    )


@lru_cache(maxsize=64)
def _plan(kernel: MaxPool, processor: ProcessorSpec) -> tuple[Items, Boxes, Boxes]:
    """Items of output pixels, the pixels under them, and they."""
    window = kernel.window
    image, pooled = _shapes(kernel)

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
        return (
            ItemBox((1, *_reach(window, plan), plan.channels), image),
            ItemBox((1, plan.rows, plan.columns, plan.channels), pooled),
        )

    items = plan_items(
        kernel=kernel.name,
        batch=window.batch,
        rows=window.out_height,
        columns=window.out_width,
        channels=window.channels,
        multiple=1,
        item_bytes=DTYPES[kernel.dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )
    of_image, of_pooled = boxes(items.plan)
    return (
        items,
        items.boxes(of_image.size, lambda o: (o[0], o[1] * window.stride, o[2] * window.stride, o[3])),
        items.boxes(of_pooled.size, tuple),
    )


def _shapes(kernel: MaxPool | MaxPoolGradient) -> tuple[Shape, Shape]:
    """The images and what is pooled from them. Raises ValueError for a window that pooling does not know."""
    window = kernel.window
    if window.dilation != 1:
        raise ValueError(f"{kernel.name}: a dilation of {window.dilation} is not known, only 1")
    return (
        (window.batch, window.height, window.width, window.channels),
        (window.batch, window.out_height, window.out_width, window.channels),
    )
