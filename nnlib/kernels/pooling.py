"""Max pooling, forward and backward, over whole channels of a block of rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import stream
from nnlib.kernels.window import Boxes, ItemBox, ItemPlan, Items, Window, plan_items
from nnlib.ops.pooling import max_pool_backward, max_pool_forward
from nnlib.precision import DTYPES, DTypeName
from sim.chip.core_group import CoreGroup
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
        items, image, pooled = _plan(self, core_group.processor, copies=(1, 1))
        plan = items.plan
        body = Body(loads=window.taps, stores=1, arithmetic=2 * window.taps)
        elements = plan.rows * plan.columns * plan.channels

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            outs[0][:, 0] = max_pool_forward(ins[0][:, 0], window.kernel, window.stride)

        stream(
            core_group,
            self.name,
            iterations=items.iterations,
            whole=items.whole,
            period=items.period,
            inputs=[image.operand(arguments["x"])],
            outputs=[pooled.operand(arguments["y"])],
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
        items, image, pooled = _plan(self, core_group.processor, copies=(2, 1), whole=not _tiled(window))
        plan = items.plan
        body = Body(loads=2 * window.taps + 1, stores=window.taps, arithmetic=4 * window.taps)
        elements = plan.rows * plan.columns * plan.channels

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            x, grad = ins[0][:, 0], ins[1][:, 0]
            outs[0][:, 0] = max_pool_backward(x, grad, window.kernel, window.stride)

        stream(
            core_group,
            self.name,
            iterations=items.iterations,
            whole=items.whole,
            period=items.period,
            inputs=[image.operand(arguments["x"]), pooled.operand(arguments["grad_y"])],
            outputs=[image.operand(arguments["grad_x"])],
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


@lru_cache(maxsize=64)
def _plan(
    kernel: MaxPool | MaxPoolGradient, processor: ProcessorSpec, *, copies: tuple[int, int], whole: bool = False
) -> tuple[Items, Boxes, Boxes]:
    """Items with ``copies`` of image and pooled buffers, and these; ``whole``: only channels are cut."""
    window = kernel.window
    if window.dilation != 1:
        raise ValueError(f"{kernel.name}: a dilation of {window.dilation} is not known, only 1")
    image = (window.batch, window.height, window.width, window.channels)
    pooled = (window.batch, window.out_height, window.out_width, window.channels)

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
        rows, columns = (window.height, window.width) if whole else _reach(window, plan)
        return (
            ItemBox((1, rows, columns, plan.channels), image),
            ItemBox((1, plan.rows, plan.columns, plan.channels), pooled),
        )

    def all_boxes(plan: ItemPlan) -> list[ItemBox]:
        return [box for box, count in zip(boxes(plan), copies, strict=True) for _ in range(count)]

    items = plan_items(
        kernel=kernel.name,
        batch=window.batch,
        rows=window.out_height,
        columns=window.out_width,
        channels=window.channels,
        multiple=max(window.out_height, window.out_width) if whole else 1,
        item_bytes=DTYPES[kernel.dtype].itemsize,
        boxes=all_boxes,
        processor=processor,
    )
    of_image, of_pooled = boxes(items.plan)
    return (
        items,
        items.boxes(of_image.size, lambda o: (o[0], o[1] * window.stride, o[2] * window.stride, o[3])),
        items.boxes(of_pooled.size, tuple),
    )
