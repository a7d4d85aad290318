"""Images under the kernel of a convolution, rows and columns apart: what im2col, col2im and depthwise kernels see."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.kernels.window import Window
from nnlib.ops.reach import Reach


@dataclass(frozen=True)
class PatchWindow:
    """``batch`` images of ``channels`` whose outputs meet them along ``rows`` and ``columns``."""

    batch: int
    channels: int
    rows: Reach
    columns: Reach

    @classmethod
    def of(cls, window: Window) -> PatchWindow:
        """The same with one stride, padding and dilation for both axes."""
        stride, padding, dilation = window.stride, window.padding, window.dilation
        rows, columns = (
            Reach(inputs=inputs, outputs=outputs, taps=taps, stride=stride, dilation=dilation, before=padding)
            for inputs, outputs, taps in zip(
                (window.height, window.width), (window.out_height, window.out_width), window.kernel, strict=True
            )
        )
        return cls(batch=window.batch, channels=window.channels, rows=rows, columns=columns)

    @property
    def kernel(self) -> tuple[int, int]:
        return self.rows.taps, self.columns.taps

    @property
    def stride(self) -> tuple[int, int]:
        return self.rows.stride, self.columns.stride

    @property
    def dilation(self) -> tuple[int, int]:
        return self.rows.dilation, self.columns.dilation

    @property
    def taps(self) -> int:
        return self.rows.taps * self.columns.taps

    @property
    def image(self) -> tuple[int, int, int, int]:
        """Images with their channels last."""
        return self.batch, self.rows.inputs, self.columns.inputs, self.channels

    @property
    def outputs(self) -> tuple[int, int, int]:
        """Images, and rows and columns of the output."""
        return self.batch, self.rows.outputs, self.columns.outputs

    @property
    def straight(self) -> bool:
        """Whether each output meets one pixel, all of them in turn."""
        return self.taps == 1 and all(
            reach.stride == 1 and reach.before == 0 and reach.inputs == reach.outputs
            for reach in (self.rows, self.columns)
        )


@dataclass(frozen=True)
class Patched:
    """The outputs whose patches reach a block of pixels along an axis, the block at a multiple of the stride.

    ``count`` of them from the one ``first`` after the block's number of strides on, whose patch begins ``ahead`` pixels
    before the block.
    """

    count: int
    first: int
    ahead: int


def patched(reach: Reach, block: int) -> Patched:
    """What reaches ``block`` pixels. One output at least, even where strides pass over the pixels: a transfer has to be
    of something."""
    first = -(((reach.taps - 1) * reach.dilation - reach.before) // reach.stride)
    count = max(1, (block - 1 + reach.before) // reach.stride - first + 1)
    return Patched(count=count, first=first, ahead=reach.before - first * reach.stride)


def under(reach: Reach, outputs: int) -> int:
    """Pixels from the first to the last that so many outputs meet."""
    return (outputs - 1) * reach.stride + (reach.taps - 1) * reach.dilation + 1
