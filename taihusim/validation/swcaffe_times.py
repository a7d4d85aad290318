"""Seconds of a layer's launches in swCaffe of 2017 and 2018, from the kernels' simulated times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nnlib.kernels.arranging.layout import Transpose
from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.implicit.implicit_single import SingleBuffered
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.launching import launches_of, mpe_seconds
from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.swcaffe.explicit import ExplicitPass
from nnlib.kernels.swcaffe.products import Products
from sim.chip.memory import MemoryUse
from sim.machine.spec import ProcessorSpec
from taihusim.validation.launched import launched_seconds
from taihusim.validation.swcaffe_nets import Conv, FullyConnected

PRODUCTS: Final = Products("swcaffe-2018", "fp32")


@dataclass(frozen=True)
class Swcaffe:
    """A run of swCaffe.

    ``active``: core groups at work. ``column_bytes``: room for column matrices, which decides how many images lie side
    by side in one; 0: each image has its own. ``base_bytes``: where Caffe's own arrays begin past a line.
    """

    processor: ProcessorSpec
    active: int = 1
    column_bytes: int = 0
    base_bytes: int = 0

    def relu(self, elements: int, *, forward: bool) -> float:
        """Seconds of one pass over ``elements`` of each core group."""
        return self.launch(Elementwise("relu" if forward else "relu_gradient", elements, "fp32"))

    def fully_connected(self, layer: FullyConnected, *, batch: int, forward: bool) -> float:
        """Seconds of a pass; core groups share out each product's columns, or the rows of the weights' gradient."""
        outs, ins = -(-layer.outs // self.active), -(-layer.ins // self.active)
        if forward:
            product = self.gemm(batch, outs, layer.ins, transpose_b=True)
            return product + self.gemm(batch, outs, 1, accumulate=True)
        weights = self.gemm(outs, layer.ins, batch, transpose_a=True, accumulate=True)
        return weights + self.gemm(batch, ins, layer.outs)

    def explicit(self, conv: Conv, which: Pass, *, images: int) -> float:
        """Seconds of a pass over ``images`` of each core group by column matrices."""
        convolution = Convolution(
            batch=images,
            ni=conv.ni,
            no=conv.no,
            ri=conv.size,
            ci=conv.size,
            kr=conv.kernel,
            kc=conv.kernel,
            stride=conv.stride,
            padding=conv.padding,
            groups=conv.groups,
        )
        explicit = ExplicitPass(
            convolution=convolution,
            which=which,
            products=PRODUCTS,
            column_bytes=self.column_bytes,
            bias=conv.bias and which == "forward",
        )
        return sum(count * self._one(kernel) for kernel, count in launches_of(explicit.kernel()))

    def _one(self, kernel: Kernel) -> float:
        alone = mpe_seconds(kernel, self.processor)
        return self.launch(kernel) if alone is None else alone

    def implicit(self, conv: Conv, which: Pass, *, images: int) -> float:
        """Seconds of a pass by the single-buffered implicit plan, which knows no padding: images come padded."""
        size = conv.size + 2 * conv.padding
        convolution = Convolution(
            batch=images, ni=conv.ni, no=conv.no, ri=size, ci=size, kr=conv.kernel, kc=conv.kernel
        )
        return self.launch(SingleBuffered(convolution=convolution, dtype="fp32", which=which), aligned=True)

    def transform(self, *, channels: int, pixels: int, images: int) -> float:
        """Seconds between Caffe's order and the pixel-major one: for each channel images × pixels are transposed."""
        return self.launch(Transpose(channels, images, pixels, "fp32"), aligned=True)

    def gemm(
        self,
        m: int,
        n: int,
        k: int,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        accumulate: bool = False,
    ) -> float:
        return self.launch(
            PRODUCTS.gemm(m, n, k, transpose_a=transpose_a, transpose_b=transpose_b, accumulate=accumulate)
        )

    def launch(self, kernel: Kernel, *, aligned: bool = False) -> float:
        """Seconds of a kernel with spawn and join. ``aligned``: its arrays are the library's own, not Caffe's."""
        memory = MemoryUse(
            mode="shared" if self.active > 1 else "private",
            active=self.active,
            base_offset=0 if aligned else self.base_bytes,
        )
        return launched_seconds(kernel, self.processor, memory=memory)
