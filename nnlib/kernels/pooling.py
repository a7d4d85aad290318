"""Max pooling, forward and backward, over whole channels of a block of rows and columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import stream
from nnlib.kernels.window import ItemBox, ItemPlan, Items, Window, plan_items
from nnlib.ops.pooling import max_pool_backward, max_pool_forward
from nnlib.precision import DTYPES, DTypeName
from sim.chip.core_group import CoreGroup
from sim.chip.dma import Integers
from sim.chip.memory import Array
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
        items = _items(self.name, window, self.dtype, core_group.processor, copies=(1, 1))
        plan = items.plan
        body = Body(loads=window.taps, stores=1, arithmetic=2 * window.taps)
        elements = plan.rows * plan.columns * plan.channels

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            outs[0][:, 0] = max_pool_forward(ins[0][:, 0], window.kernel, window.stride)

        stream(
            core_group,
            self.name,
            iterations=items.iterations,
            inputs=[items.operand(arguments["x"], (1, *_reach(window, plan), plan.channels), _image_start(window))],
            outputs=[items.operand(arguments["y"], (1, plan.rows, plan.columns, plan.channels), _identity)],
            cycles=items.cycles(stream_cycles(cpe=core_group.processor.cpe, body=body, elements=elements)),
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
        window = self.window
        items = _items(self.name, window, self.dtype, core_group.processor, copies=(2, 1), whole=not _tiled(window))
        plan = items.plan
        body = Body(loads=2 * window.taps + 1, stores=window.taps, arithmetic=4 * window.taps)
        elements = plan.rows * plan.columns * plan.channels
        image_size = (1, *_owned(window, plan), plan.channels)

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            x, grad = ins[0][:, 0], ins[1][:, 0]
            outs[0][:, 0] = max_pool_backward(x, grad, window.kernel, window.stride)

        stream(
            core_group,
            self.name,
            iterations=items.iterations,
            inputs=[
                items.operand(arguments["x"], image_size, _image_start(window)),
                items.operand(arguments["grad_y"], (1, plan.rows, plan.columns, plan.channels), _identity),
            ],
            outputs=[items.operand(arguments["grad_x"], image_size, _image_start(window))],
            cycles=items.cycles(stream_cycles(cpe=core_group.processor.cpe, body=body, elements=elements)),
            run=run,
        )


def _tiled(window: Window) -> bool:
    """True if the windows cut the image into equal parts, so that every pixel belongs to one window."""
    kh, kw = window.kernel
    exact = window.out_height * window.stride == window.height and window.out_width * window.stride == window.width
    return kh == kw == window.stride and exact


def _reach(window: Window, plan: ItemPlan) -> tuple[int, int]:
    """Image rows and columns under the windows of an item."""
    return (
        (plan.rows - 1) * window.stride + window.kernel[0],
        (plan.columns - 1) * window.stride + window.kernel[1],
    )


def _owned(window: Window, plan: ItemPlan) -> tuple[int, int]:
    """Image rows and columns whose gradient an item writes: the whole image where windows overlap."""
    return _reach(window, plan) if _tiled(window) else (window.height, window.width)


def _items(
    kernel: str,
    window: Window,
    dtype: DTypeName,
    processor: ProcessorSpec,
    *,
    copies: tuple[int, int],
    whole: bool = False,
) -> Items:
    """Items with ``copies`` of image and pooled buffers; ``whole``: only channels are cut."""
    image = (window.batch, window.height, window.width, window.channels)
    pooled = (window.batch, window.out_height, window.out_width, window.channels)

    def boxes(plan: ItemPlan) -> list[ItemBox]:
        rows, columns = (window.height, window.width) if whole else _reach(window, plan)
        images = [ItemBox((1, rows, columns, plan.channels), image)] * copies[0]
        return [*images, *[ItemBox((1, plan.rows, plan.columns, plan.channels), pooled)] * copies[1]]

    return plan_items(
        kernel=kernel,
        batch=window.batch,
        rows=window.out_height,
        columns=window.out_width,
        channels=window.channels,
        multiple=max(window.out_height, window.out_width) if whole else 1,
        item_bytes=DTYPES[dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )


def _image_start(window: Window) -> Callable[[Integers], tuple[Integers, ...]]:
    return lambda o: (o[0], o[1] * window.stride, o[2] * window.stride, o[3])


def _identity(o: Integers) -> tuple[Integers, ...]:
    return o[0], o[1], o[2], o[3]
