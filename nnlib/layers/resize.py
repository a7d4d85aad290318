"""Layers that resize images and sequences."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.reach import Pair, pair
from nnlib.ops.resize import Mode, resize_backward, resize_forward


@dataclass(frozen=True)
class Upsample(Layer):
    """Images (H, W, C) or sequences (T, C) with ``scale`` times as many pixels, or with ``size`` pixels.

    Rows and columns, or one number for both. ``align_corners``, for ``bilinear``: the outermost pixels stay where they
    are (torch.nn.Upsample).
    """

    scale: Pair | None = None
    size: Pair | None = None
    mode: Mode = "nearest"
    align_corners: bool = False

    def pixels(self, shape: Shape) -> tuple[int, ...]:
        """How many there will be along each axis."""
        axes = len(shape) - 1
        if self.size is not None:
            return pair(self.size)[:axes]
        assert self.scale is not None
        return tuple(length * times for length, times in zip(shape[:-1], pair(self.scale), strict=False))

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        what = f"layer {self.name!r} (upsample)"
        if (self.scale is None) == (self.size is None):
            raise ShapeError(f"{what} wants a scale or a size, got scale {self.scale} and size {self.size}")
        if len(shape) not in (2, 3):
            raise ShapeError(
                f"{what} wants images (height, width, channels) or sequences (length, channels), got {shape}"
            )
        found = (*self.pixels(shape), shape[-1])
        if min(found) < 1:
            raise ShapeError(f"{what} wants at least one pixel of scale {self.scale} or size {self.size}, got {shape}")
        return found

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        size = self.pixels(x.shape[1:])
        return resize_forward(x, size, mode=self.mode, align_corners=self.align_corners), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        if not needs[0]:
            return (None,), {}
        return (resize_backward(grad_output, saved, mode=self.mode, align_corners=self.align_corners),), {}
