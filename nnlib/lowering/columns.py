"""The matrix products of an explicit convolution: with the columns that im2col gathers, col2im adds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from nnlib.kernels.gemm import Gemm
from nnlib.kernels.grouped import Grouped
from nnlib.kernels.im2col import Col2im, Im2col
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.patch_window import PatchWindow
from nnlib.lowering.site import Site
from sim.chip.memory import Shape


@dataclass(frozen=True, kw_only=True)
class ColumnProducts:
    """A convolution of images that ``window`` describes, all channels, to ``out_channels`` in ``groups`` groups.

    Columns are (pixels, taps·channels), of several groups a plane for each. Where every output meets one pixel, all in
    turn, the images are the columns.
    """

    site: Site
    window: PatchWindow
    out_channels: int
    groups: int

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel is a group by itself, in and out."""
        return self.groups == self.window.channels == self.out_channels

    @property
    def pixels(self) -> int:
        """Output pixels of all samples."""
        return prod(self.window.outputs)

    @property
    def depth(self) -> int:
        """Columns of a group."""
        return self.window.taps * self.window.channels // self.groups

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        """(taps, channels of a group, output channels)."""
        return self.window.taps, self.window.channels // self.groups, self.out_channels

    @property
    def outs(self) -> int:
        """Output channels of a group."""
        return self.out_channels // self.groups

    @property
    def direct(self) -> bool:
        """Whether the images are the columns."""
        return self.window.straight and self.groups == 1

    def gather(self, images: str, suffix: str) -> str:
        """The columns of ``images``, in a new buffer of the layer where they are others."""
        if self.direct:
            return images
        columns = self.site.buffer(suffix, self._columns)
        self.site.launch(self._each(Im2col(self._window, self.site.dtype), "cols"), x=images, cols=columns)
        return columns

    def gathered(self, images: str, suffix: str) -> str:
        """The columns that an earlier :meth:`gather` made."""
        return images if self.direct else self.site.made(suffix)

    def multiply(self, columns: str, weight: str, out: str) -> None:
        """``out`` (pixels, output channels) = columns · weight."""
        product = Gemm(m=self.pixels, n=self.outs, k=self.depth, dtype=self.site.dtype)
        self.site.launch(self._each(product, "a"), a=columns, b=weight, c=out)

    def by_weight(self, columns: str, grad: str, weight_gradient: str) -> None:
        """The gradient by the weights from that by the output."""
        product = Gemm(m=self.depth, n=self.outs, k=self.pixels, dtype=self.site.dtype, transpose_a=True)
        self.site.launch(self._each(product, "a"), a=columns, b=grad, c=weight_gradient)

    def scatter(self, grad: str, weight: str, suffix: str, images: str) -> None:
        """The gradient by the images from that by the output."""
        columns = images if self.direct else self.site.buffer(suffix, self._columns)
        product = Gemm(m=self.pixels, n=self.depth, k=self.outs, dtype=self.site.dtype, transpose_b=True)
        self.site.launch(self._each(product, "c"), a=grad, b=weight, c=columns)
        if not self.direct:
            self.site.launch(self._each(Col2im(self._window, self.site.dtype), "cols"), cols=columns, x=images)

    @property
    def _columns(self) -> Shape:
        return (self.pixels, self.depth) if self.groups == 1 else (self.groups, self.pixels, self.depth)

    @property
    def _window(self) -> PatchWindow:
        """What a group sees."""
        return replace(self.window, channels=self.window.channels // self.groups)

    def _each(self, kernel: Kernel, planes: str) -> Kernel:
        return kernel if self.groups == 1 else Grouped(kernel=kernel, groups=self.groups, planes=(planes,))
