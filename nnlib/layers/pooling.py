"""What layers that pool under windows share: of images (H, W, C) and of sequences (T, C)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from nnlib.layers.layer import Shape, ShapeError, only_input
from nnlib.ops.pool_axis import Paddings, PoolAxis, Sizes, pool_axes


class Pooling(Protocol):
    """A layer over windows, with the ``options`` that its operations take beside arrays."""

    @property
    def name(self) -> str:
        """The layer's name."""

    @property
    def ceil(self) -> bool:
        """Whether windows may reach beyond the padding."""

    def axes(self, shape: Shape) -> tuple[PoolAxis, ...]:
        """The windows along each axis of the pixels. Raises ShapeError if they do not go with ``shape``."""

    @property
    def options(self) -> dict[str, Any]:
        """Kernel, stride, padding and the like by the operations' names for them."""


def window_axes(
    layer: Pooling,
    kind: str,
    shape: Shape,
    kernel: Sequence[int],
    stride: Sizes,
    padding: Paddings,
    dilation: Sizes,
) -> tuple[PoolAxis, ...]:
    """The windows along each axis of the pixels. Raises ShapeError."""
    wanted = "(height, width, channels)" if len(kernel) == 2 else "(length, channels)"
    what = "images" if len(kernel) == 2 else "sequences"
    reason = "that many axes"
    if len(shape) == len(kernel) + 1:
        try:
            return pool_axes((1, *shape), kernel, stride, padding, dilation, ceil_mode=layer.ceil)
        except ValueError as error:
            reason = str(error)
    raise ShapeError(
        f"layer {layer.name!r} ({kind}) wants {what} {wanted} for windows of {tuple(kernel)}, got {shape}: {reason}"
    )


def pooled_shape(self: Pooling, input_shapes: tuple[Shape, ...]) -> Shape:
    """Pixels, one for each window, and the input's channels."""
    shape = only_input(self.name, input_shapes)
    return (*(pool.count for pool in self.axes(shape)), shape[-1])
