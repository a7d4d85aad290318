"""Max pooling forward, over blocks of output pixels, and backward, over blocks of pixels with all windows on them.

What a block sees beyond the image comes in as zeros, and the CPE overwrites it: padding is never the largest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.reducing.pool_window import PoolWindow, Touching, never_largest, touching
from nnlib.kernels.window import Boxes, ItemBox, ItemPlan, Items, Window, plan_items
from nnlib.ops.pooling import max_pool_backward, max_pool_forward
from nnlib.precision import DTYPES, STORAGE, DTypeName, StorageName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.machine.spec import CpeSpec, ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class MaxPool:
    """``y`` = the largest number under each window of ``x``."""

    window: Window | PoolWindow
    dtype: StorageName

    @property
    def name(self) -> str:
        return "max_pool"

    def parameters(self) -> tuple[Parameter, ...]:
        window = pool_window(self.window)
        return Parameter("x", window.image, "in"), Parameter("y", window.pooled, "out")

    def reference(self, arrays: Mapping[str, Array]) -> None:
        window = pool_window(self.window)
        arrays["y"][...] = max_pool_forward(
            arrays["x"],
            window.kernel,
            window.stride,
            padding=window.padding,
            dilation=window.dilation,
            ceil_mode=window.rows.ceil_mode,
        )

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        window = pool_window(self.window)
        items, image, pooled = _plan(window, self.name, self.dtype, core_group.processor)
        plan, cpe = items.plan, core_group.cpe
        body = Body(loads=window.taps, stores=1, arithmetic=2 * window.taps)
        cycles = stream_cycles(cpe=cpe, body=body, elements=plan.rows * plan.columns * plan.channels)

        def run_at(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            _, row, column, _ = image.place(items.origins(iteration))
            x = never_largest(ins[0][:, 0], window, row, column)
            outs[0][:, 0] = max_pool_forward(x, window.kernel, window.stride, dilation=window.dilation)

        items.stream(
            core_group,
            self.name,
            inputs=[image.operand(arguments["x"])],
            outputs=[pooled.operand(arguments["y"])],
            cycles=cycles + _border_cycles(window, image.size, cpe),
            run_at=run_at,
        )


@dataclass(frozen=True)
class MaxPoolGradient:
    """``grad_x``: each ``grad_y`` goes to the first largest pixel of its window."""

    window: Window | PoolWindow
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "max_pool_gradient"

    def parameters(self) -> tuple[Parameter, ...]:
        window = pool_window(self.window)
        return (
            Parameter("x", window.image, "in"),
            Parameter("grad_y", window.pooled, "in"),
            Parameter("grad_x", window.image, "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        window = pool_window(self.window)
        arrays["grad_x"][...] = max_pool_backward(
            arrays["x"],
            arrays["grad_y"],
            window.kernel,
            window.stride,
            padding=window.padding,
            dilation=window.dilation,
            ceil_mode=window.rows.ceil_mode,
        )

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program: an item is a block of pixels; it gets all windows that touch it, and puts its own pixels.

        Maxima under windows across a border are found on both of its sides.
        """
        window = pool_window(self.window)
        plan = _plan_gradient(window, self.name, self.dtype, core_group.processor)
        rows, columns = plan.touching
        cpe = core_group.cpe
        body = Body(loads=2 * window.taps + 1, stores=window.taps, arithmetic=4 * window.taps)
        elements = rows.windows * columns.windows * plan.items.plan.channels

        def run_at(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            _, row, column, _ = plan.seen.place(plan.items.origins(iteration))
            x = never_largest(ins[0][:, 0], window, row, column)
            grad, own = ins[1][:, 0], outs[0][:, 0]
            found = max_pool_backward(x, grad, window.kernel, window.stride, dilation=window.dilation)
            found = found[:, rows.before :, columns.before :][:, : own.shape[1], : own.shape[2]]
            own[...] = 0  # strides may pass over the block's last pixels: no window reaches them
            own[:, : found.shape[1], : found.shape[2]] = found

        cycles = stream_cycles(cpe=cpe, body=body, elements=elements)
        plan.items.stream(
            core_group,
            self.name,
            inputs=[plan.seen.operand(arguments["x"]), plan.pooled.operand(arguments["grad_y"])],
            outputs=[plan.own.operand(arguments["grad_x"])],
            cycles=cycles + _border_cycles(window, plan.seen.size, cpe),
            run_at=run_at,
        )


def pool_window(window: Window | PoolWindow) -> PoolWindow:
    """The windows by rows and columns."""
    return window if isinstance(window, PoolWindow) else PoolWindow.of(window)


def _border_cycles(window: PoolWindow, seen: tuple[int, ...], cpe: CpeSpec) -> float:
    """Cycles to overwrite what an item sees beyond the image, as much as it can be."""
    if window.inside:
        return 0.0
    within = 1
    for pool, size in zip(window.axes, seen[1:3], strict=True):
        beyond = max((pool.count - 1) * pool.stride + pool.reach - pool.padding - pool.length, 0)
        within *= max(size - pool.padding - (beyond if size >= pool.length else 0), 0)
    border = (seen[1] * seen[2] - within) * seen[3]
    return stream_cycles(cpe=cpe, body=Body(stores=1), elements=border)


@dataclass(frozen=True, eq=False)
class _GradientPlan:
    """The items, the windows that touch one by rows and by columns, the pixels seen, their windows, its own pixels."""

    items: Items
    touching: tuple[Touching, Touching]
    seen: Boxes
    pooled: Boxes
    own: Boxes


@lru_cache(maxsize=64)
def _plan_gradient(window: PoolWindow, name: str, dtype: DTypeName, processor: ProcessorSpec) -> _GradientPlan:
    """Blocks of pixels, cut in multiples of the strides. Raises InfeasiblePlan if the smallest does not fit the LDM."""
    strides = window.stride

    def touched(plan: ItemPlan) -> tuple[Touching, Touching]:
        return touching(window.rows, block=plan.rows), touching(window.columns, block=plan.columns)

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox, ItemBox]:
        rows, columns = touched(plan)
        return (
            ItemBox((1, rows.pixels, columns.pixels, plan.channels), window.image),
            ItemBox((1, rows.windows, columns.windows, plan.channels), window.pooled),
            ItemBox((1, plan.rows, plan.columns, plan.channels), window.image),
        )

    items = plan_items(
        kernel=name,
        batch=window.batch,
        rows=window.rows.length,
        columns=window.columns.length,
        channels=window.channels,
        multiple=strides,
        item_bytes=DTYPES[dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )
    seen, under, own = boxes(items.plan)
    rows, columns = touched(items.plan)
    return _GradientPlan(
        items=items,
        touching=(rows, columns),
        seen=items.boxes(seen.size, lambda o: (o[0], o[1] - rows.before, o[2] - columns.before, o[3])),
        pooled=items.boxes(
            under.size, lambda o: (o[0], o[1] // strides[0] + rows.first, o[2] // strides[1] + columns.first, o[3])
        ),
        own=items.boxes(own.size, tuple),
    )


@lru_cache(maxsize=64)
def _plan(window: PoolWindow, name: str, dtype: StorageName, processor: ProcessorSpec) -> tuple[Items, Boxes, Boxes]:
    """Items of output pixels, the pixels under them, and they."""
    by_rows, by_columns = window.axes

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
        rows = (plan.rows - 1) * by_rows.stride + by_rows.reach
        columns = (plan.columns - 1) * by_columns.stride + by_columns.reach
        return (
            ItemBox((1, rows, columns, plan.channels), window.image),
            ItemBox((1, plan.rows, plan.columns, plan.channels), window.pooled),
        )

    items = plan_items(
        kernel=name,
        batch=window.batch,
        rows=by_rows.count,
        columns=by_columns.count,
        channels=window.channels,
        multiple=1,
        item_bytes=STORAGE[dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )
    image, pooled = boxes(items.plan)
    return (
        items,
        items.boxes(
            image.size,
            lambda o: (
                o[0],
                o[1] * by_rows.stride - by_rows.padding,
                o[2] * by_columns.stride - by_columns.padding,
                o[3],
            ),
        ),
        items.boxes(pooled.size, tuple),
    )
