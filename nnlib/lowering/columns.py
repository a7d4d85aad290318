"""The matrix products of an explicit convolution: with the columns that im2col gathers, col2im adds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from math import isqrt, prod
from typing import Final

from nnlib.kernels.chained import Chained, Stage
from nnlib.kernels.convolutions.grouped import Grouped
from nnlib.kernels.convolutions.im2col import Col2im, Im2col
from nnlib.kernels.convolutions.patch_window import PatchWindow
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pointwise.elementwise import SumCopies
from nnlib.kernels.products.gemm import Gemm
from nnlib.lowering.site import Site
from nnlib.precision import DTYPES
from sim.chip.memory import Shape

COLUMN_BYTES: Final = 1 << 28
"""Columns of a whole batch up to this size are kept from forward to backward; larger ones are made part by part.

A part is a sample at least, however large its columns.
"""


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

    @property
    def parts(self) -> int:
        """Into how many equal parts the batch is divided, so that the columns of one are not too large."""
        batch = self.window.batch
        if self.direct or self._size <= COLUMN_BYTES:
            return 1
        small = [number for number in range(1, isqrt(batch) + 1) if batch % number == 0]
        divisors = chain(small, (batch // number for number in reversed(small)))
        return next((number for number in divisors if self._size <= number * COLUMN_BYTES), batch)

    @property
    def are_kept(self) -> bool:
        """Whether the columns of the whole batch lie in memory at once."""
        return not self.direct and self._size <= COLUMN_BYTES

    @property
    def _size(self) -> int:
        """Bytes of the columns of the whole batch."""
        return self.pixels * self.depth * self.groups * DTYPES[self.site.dtype].itemsize

    def is_prepared(self, suffix: str) -> bool:
        """Whether :meth:`prepare` has nothing left to do, as the forward pass has done it."""
        return not self.are_kept or self.site.made(suffix) in self.site.builder.shapes

    def prepare(self, images: str, suffix: str) -> None:
        """Gather the columns of ``images`` into a new buffer of the layer, if they are kept for several products."""
        if self.are_kept:
            columns = self.site.buffer(suffix, self._columns)
            self.site.launch(self._each(Im2col(self._window, self.site.dtype), "cols"), x=images, cols=columns)

    def forward(self, images: str, suffix: str, weight: str, out: str) -> None:
        """``out`` (pixels, output channels) = columns of ``images`` · weight; behind :meth:`prepare`."""
        part = self._part
        product = part._each(Gemm(m=part.pixels, n=self.outs, k=self.depth, dtype=self.site.dtype), "a")
        if self.direct or self.are_kept:
            self.site.launch(product, a=self._kept(images, suffix), b=weight, c=out)
            return
        stages = part._gather, Stage.of(product, a="cols", b="weight", c="y")
        self._chain("convolution", stages, ("x", "y"), x=images, cols=self._room(suffix), weight=weight, y=out)

    def by_weight(self, images: str, suffix: str, grad: str, weight_gradient: str) -> None:
        """The gradient by the weights from that by the output; behind :meth:`prepare`."""
        part = self._part
        product = Gemm(m=self.depth, n=self.outs, k=part.pixels, dtype=self.site.dtype, transpose_a=True)
        if self.direct or self.are_kept:
            columns = self._kept(images, suffix)
            self.site.launch(self._each(product, "a"), a=columns, b=grad, c=weight_gradient)
            return
        stages = part._gather, Stage.of(part._each(product, "a"), a="cols", b="grad", c="parts")
        sums = self.site.buffer(f"parts_of_{suffix}", (self.parts, *self.weight_shape))
        divided, room = ("x", "grad", "parts"), self._room(f"again_{suffix}")
        self._chain("convolution_weight_gradient", stages, divided, x=images, cols=room, grad=grad, parts=sums)
        summed = SumCopies(count=self.parts, elements=prod(self.weight_shape), dtype=self.site.dtype)
        self.site.launch(summed, copies=sums, total=weight_gradient)

    def by_images(self, grad: str, suffix: str, weight: str, images: str) -> None:
        """The gradient by the images from that by the output."""
        part = self._part
        product = Gemm(m=part.pixels, n=self.depth, k=self.outs, dtype=self.site.dtype, transpose_b=True)
        multiply, add = part._each(product, "c"), part._each(Col2im(part._window, self.site.dtype), "cols")
        if self.direct:
            self.site.launch(multiply, a=grad, b=weight, c=images)
        elif self.are_kept:
            columns = self.site.buffer(suffix, self._columns)
            self.site.launch(multiply, a=grad, b=weight, c=columns)
            self.site.launch(add, cols=columns, x=images)
        else:
            stages = Stage.of(multiply, a="grad", b="weight", c="cols"), Stage.of(add, cols="cols", x="x")
            room = self._room(suffix)
            label, divided = "convolution_input_gradient", ("grad", "x")
            self._chain(label, stages, divided, grad=grad, weight=weight, cols=room, x=images)

    def _chain(self, label: str, stages: tuple[Stage, ...], divided: tuple[str, ...], **arguments: str) -> None:
        self.site.launch(Chained(label=label, stages=stages, parts=self.parts, divided=divided), **arguments)

    def _kept(self, images: str, suffix: str) -> str:
        """The columns that :meth:`prepare` gathered."""
        return images if self.direct else self.site.made(suffix)

    def _room(self, suffix: str) -> str:
        """A new buffer for the columns of a part."""
        return self.site.buffer(suffix, self._part._columns)

    @property
    def _part(self) -> ColumnProducts:
        """The same of a part of the batch."""
        return replace(self, window=replace(self.window, batch=self.window.batch // self.parts))

    @property
    def _gather(self) -> Stage:
        return Stage.of(self._each(Im2col(self._window, self.site.dtype), "cols"), x="x", cols="cols")

    @property
    def _columns(self) -> Shape:
        return (self.pixels, self.depth) if self.groups == 1 else (self.groups, self.pixels, self.depth)

    @property
    def _window(self) -> PatchWindow:
        """What a group sees."""
        return replace(self.window, channels=self.window.channels // self.groups)

    def _each(self, kernel: Kernel, planes: str) -> Kernel:
        return kernel if self.groups == 1 else Grouped(kernel=kernel, groups=self.groups, planes=(planes,))


def images_of(shape: Shape) -> tuple[int, int, int]:
    """The shape of images; sequences are images of one row."""
    height, width, channels = (1, *shape) if len(shape) == 2 else shape
    return height, width, channels
