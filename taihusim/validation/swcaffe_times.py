"""Seconds of a layer's launches in swCaffe of 2017 and 2018, from the kernels' simulated times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nnlib.kernels.arranging.layout import Transpose
from nnlib.kernels.convolutions.caffe_order import RowIm2col
from nnlib.kernels.convolutions.channel_groups import CopyColumns
from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.implicit.implicit_single import SingleBuffered
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.products.gemm_scheme import GemmPlan, GemmScheme
from nnlib.kernels.window import Window
from sim.chip.memory import MemoryUse
from sim.machine.spec import ProcessorSpec
from taihusim.validation.conditions import SWCAFFE_LAYERS
from taihusim.validation.launched import launched_seconds
from taihusim.validation.swcaffe_nets import Conv, FullyConnected, out_size

SCHEME: Final = GemmScheme(library="swcaffe-2018", schedule="swcaffe-2018", overlap="depth", fp32="direct")
"""The fp32 micro-kernel of ``gemm_float.S``; operands of the next k-range come under the compute."""
CUBE: Final = GemmPlan(m=32, n=32, k=32)
"""256 × 256 × 256 on the mesh, whatever the layer: equal sides, the largest power of two that fits the LDM."""
ITEM: Final = 4


@dataclass(frozen=True)
class Swcaffe:
    """A run of swCaffe.

    ``active``: core groups at work. ``column_bytes``: room for column matrices, which decides how many images lie side
    by side in one; 0: each image has its own.
    """

    processor: ProcessorSpec
    active: int = 1
    column_bytes: int = 0

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
        ins, outs = conv.ni // conv.groups, conv.no // conv.groups
        pixels, rows = out_size(conv) ** 2, ins * conv.kernel**2
        together = self.images_together(images, column_bytes=ITEM * rows * pixels)
        columns = together * pixels
        match which:
            case "forward":
                product = self.gemm(outs, columns, rows) + self.gemm(outs, columns, 1, accumulate=True)
            case "weight_gradient":
                product = self.gemm(outs, rows, columns, transpose_b=True, accumulate=True)
            case "input_gradient":
                product = self.gemm(rows, columns, outs, transpose_a=True)
        layout = self.col2im(rows * pixels) if which == "input_gradient" else self.im2col(conv, ins)
        if together > 1:
            layout += self.reorder(outs, pixels, together)
        return conv.groups * images * (product / together + layout)

    def images_together(self, images: int, *, column_bytes: int) -> int:
        """Images side by side in a column matrix: a divisor of all, as many as there is room for."""
        most = max(1, self.column_bytes // column_bytes)
        return max(each for each in range(1, images + 1) if images % each == 0 and each <= most)

    def im2col(self, conv: Conv, channels: int) -> float:
        """Seconds for an image of a group."""
        window = Window(1, conv.size, conv.size, channels, (conv.kernel, conv.kernel), conv.stride, conv.padding)
        return self.launch(RowIm2col(window, "fp32"))

    def col2im(self, elements: int) -> float:
        """Seconds in which the MPE adds the columns' ``elements`` to an image."""
        return elements * SWCAFFE_LAYERS.col2im_cycles.value / self.processor.clock_hertz

    def reorder(self, channels: int, pixels: int, images: int) -> float:
        """Seconds for an image's outputs between the columns' order, images inside, and Caffe's."""
        return self.launch(
            CopyColumns(
                rows=channels,
                columns=pixels,
                source_columns=images * pixels,
                target_columns=pixels,
                dtype="fp32",
            )
        )

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
            Gemm(
                m=m, n=n, k=k, dtype="fp32", transpose_a=transpose_a, transpose_b=transpose_b, library="swcaffe-2018",
                scheme=SCHEME, plan=CUBE, accumulate=accumulate,
            )
        )  # fmt: skip

    def launch(self, kernel: Kernel, *, aligned: bool = False) -> float:
        """Seconds of a kernel with spawn and join. ``aligned``: its arrays are the library's own, not Caffe's."""
        memory = MemoryUse(
            mode="shared" if self.active > 1 else "private",
            active=self.active,
            base_offset=0 if aligned else int(SWCAFFE_LAYERS.base_bytes.value),
        )
        return launched_seconds(kernel, self.processor, memory=memory)
