"""Predicts the published convolutions by Winograd's algorithm and by explicit GEMM, on all core groups of a chip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from nnlib.kernels.convolutions.convolution import Convolution
from nnlib.kernels.convolutions.explicit import explicit
from nnlib.kernels.generations import Library
from nnlib.kernels.launch import Launch
from nnlib.kernels.order import Order
from nnlib.kernels.winograd.winograd import winograd
from nnlib.kernels.winograd.winograd_filters import FilterToPlanes
from nnlib.kernels.winograd.winograd_tiles import STEP, Share
from sim.chip.memory import MemoryUse
from sim.machine.spec import MachineSpec, ProcessorSpec
from taihusim.validation.conditions import EXPLICIT, WINOGRAD, ConvolutionRun
from taihusim.validation.inputs import Inputs, check_library, whole
from taihusim.validation.launched import launched_seconds
from taihusim.validation.published_layers import named_layer

LIBRARY: Final[Library] = "autotuned-2019"
ORDERS: Final[tuple[Order, ...]] = ("channels-last", "channels-first")


def winograd_fp32(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of 3 × 3 convolutions, counted as direct ones, in the faster of two data orders.

    The core groups share each convolution: tiles to transform by samples or rows, products by planes. The filters
    are transformed beforehand.
    """
    check_library(inputs, LIBRARY)
    size, batch = whole(inputs, "HW"), whole(inputs, "batch")
    if WINOGRAD.whole_tiles.value:
        size = -(-size // STEP) * STEP
    shape = Convolution(
        batch=batch,
        ni=whole(inputs, "Ni"),
        no=whole(inputs, "No"),
        ri=size,
        ci=size,
        kr=3,
        kc=3,
        padding=round(WINOGRAD.padding.value),
    )
    processor = machine.processor

    def seconds(order: Order) -> float:
        launches = winograd(
            shape,
            "forward",
            dtype="fp32",
            processor=processor,
            library=LIBRARY,
            order=order,
            overlapped=bool(WINOGRAD.overlapped.value),
            share=Share(0, processor.core_groups),
        )
        timed = [launch for launch in launches if not isinstance(launch.kernel, FilterToPlanes)]
        return _seconds(timed, processor, WINOGRAD)

    return shape.flops / min(map(seconds, ORDERS)) / 1e9


def explicit_fp32(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of layers of AlexNet and VGG16 by im2col and GEMM, channels first; each core group has its own images.

    Of fewer images than core groups each takes some output rows or some channels, whatever is faster. The products
    overlap all that two buffers allow: the rates in print are above swGEMM's own at these shapes.
    """
    check_library(inputs, LIBRARY)
    processor = machine.processor
    shape = named_layer(inputs, batch=whole(inputs, "batch"))
    parts = processor.core_groups
    shares = [_images(shape, parts)] if shape.batch >= parts else [_rows(shape, parts), _channels(shape, parts)]
    return shape.flops / min(_seconds(launches, processor, EXPLICIT) for launches in shares) / 1e9


def _images(shape: Convolution, parts: int) -> list[Launch]:
    """What the core group with the most images does."""
    return _explicit(replace(shape, batch=-(-shape.batch // parts)))


def _rows(shape: Convolution, parts: int) -> list[Launch]:
    """What the core group with the most output rows does."""
    rows = -(-shape.ro // parts)
    reach = shape.dilation * (shape.kr - 1) + 1
    return _explicit(replace(shape, ri=(rows - 1) * shape.stride + reach - 2 * shape.padding))


def _channels(shape: Convolution, parts: int) -> list[Launch]:
    """The columns of some input channels, then the product for some output channels."""
    *gather, _ = _explicit(replace(shape, ni=-(-shape.ni // parts)))
    *_, multiply = _explicit(replace(shape, no=-(-shape.no // parts)))
    return [*gather, multiply]


def _explicit(shape: Convolution) -> list[Launch]:
    return list(explicit(shape, "forward", dtype="fp32", order="channels-first"))


def _seconds(launches: Iterable[Launch], processor: ProcessorSpec, run: ConvolutionRun) -> float:
    """Spawn, kernel and the meeting of the core groups, launch after launch."""
    memory = MemoryUse(mode="shared", active=processor.core_groups, base_offset=round(run.base_bytes.value))
    return sum(
        processor.group_sync_seconds + launched_seconds(launch.kernel, processor, memory=memory) for launch in launches
    )
