"""Explicit convolutions as swCaffe has them: images in Caffe's order, several side by side in a column matrix.

Images are (batch, channels, rows, columns), weights (kr, kc, ni of a group, no) as everywhere here; Caffe's are the
transposed matrix with its taps behind the channels, which takes the same blocks. im2col runs on the CPEs, row by row;
col2im on the MPE. Every im2col, product and change of order is a launch of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from nnlib.kernels.arranging.copying import Copy, whole_move
from nnlib.kernels.chained import Stage
from nnlib.kernels.convolutions.caffe_order import RowIm2col
from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.explicit import window_of
from nnlib.kernels.convolutions.im2col import Col2im
from nnlib.kernels.swcaffe.on_mpe import OnMpe
from nnlib.kernels.swcaffe.products import Products
from nnlib.kernels.swcaffe.slices import Sliced, Slices
from nnlib.kernels.window import Window
from nnlib.precision import DTYPES

COLUMN_BYTES: Final = 1 << 27
"""Room for column matrices. [derived] SWCAFFE: 116 MB for one image of VGG-16's conv1_2; small layers of the paper's
version do not pay for ragged tiles, those of the log of October 2017 do."""
COL2IM_CYCLES: Final = 3.0
"""Of the MPE for each number of a column matrix: two loads and a store, one a cycle as on P1 of a CPE. [derived] That
col2im runs on the MPE is concluded from SWCAFFE table II: input gradients keep about 2 ns per number whatever the
rows' width."""


@dataclass(frozen=True, kw_only=True)
class ExplicitPass:
    """A pass of a convolution of stride and padding alike along rows and columns, without dilation.

    ``column_bytes``: room for columns; 0: each image has its own. ``bias``: forward, a bias is added by a product of
    its own.
    """

    convolution: Convolution
    which: Pass
    products: Products
    column_bytes: int = COLUMN_BYTES
    bias: bool = False

    @property
    def one(self) -> Convolution:
        """What a group sees of the images that lie side by side."""
        whole = self.convolution
        return replace(whole, batch=self.together, ni=whole.group_ni, no=whole.group_no, groups=1)

    @property
    def depth(self) -> int:
        """Rows of a column matrix."""
        return self.convolution.group_ni * self.convolution.kr * self.convolution.kc

    @property
    def pixels(self) -> int:
        """Of an output."""
        return self.convolution.ro * self.convolution.co

    @property
    def together(self) -> int:
        """Images side by side in a column matrix: a divisor of all, as many as there is room for.

        One where pixels need no columns: as in Caffe, images are then multiplied where they lie.
        """
        if self.pointwise:
            return 1
        images = self.convolution.batch
        size = DTYPES[self.products.dtype].itemsize * self.depth * self.pixels
        most = max(1, self.column_bytes // size)
        return max(each for each in range(1, images + 1) if images % each == 0 and each <= most)

    @property
    def columns(self) -> int:
        """Columns of a column matrix."""
        return self.together * self.pixels

    @property
    def pointwise(self) -> bool:
        """Whether columns are pixels as they are: neither im2col nor col2im."""
        one = self.convolution
        return one.kr == one.kc == one.stride == 1 and one.padding == 0

    @property
    def moved(self) -> bool:
        """Whether outputs change their order: columns have all images of a channel side by side."""
        return self.together > 1

    @property
    def window(self) -> Window:
        return window_of(self.one)

    def kernel(self) -> Slices:
        """All launches; arrays as the reference's, the columns ``cols``, outputs channel by channel ``by_channel``."""
        whole, groups = self.convolution, self.convolution.groups
        parts = whole.batch // self.together
        image = (parts, self.together, groups, whole.group_ni, whole.ri, whole.ci)
        output = (parts, self.together, groups, whole.group_no, self.pixels)
        matrix = (self.depth, groups, whole.group_no)
        by_channel = Sliced((whole.group_no, self.columns), "out")
        cols = Sliced((self.depth, self.together, self.pixels), "out", image=1)
        match self.which:
            case "forward":
                arrays = {
                    "x": Sliced(image, "in", 0, 2, 1),
                    "weight": Sliced(matrix, "in", None, 1),
                    "y": Sliced(output, "out", 0, 2),
                }
                if self.bias:
                    arrays["bias"] = Sliced((groups, whole.group_no), "in", None, 0)
                    arrays["ones"] = Sliced((1, self.columns), "in")
            case "weight_gradient":
                arrays = {
                    "x": Sliced(image, "in", 0, 2, 1),
                    "grad_y": Sliced(output, "in", 0, 2),
                    "grad_weight": Sliced(matrix, "inout", None, 1),
                }
            case "input_gradient":
                arrays = {
                    "grad_y": Sliced(output, "in", 0, 2),
                    "weight": Sliced(matrix, "in", None, 1),
                    "grad_x": Sliced(image, "out", 0, 2),
                }
        stages = tuple(self._stages())
        used = {name for stage in stages for _, name in stage.arrays}
        arrays |= {name: each for name, each in (("cols", cols), ("by_channel", by_channel)) if name in used}
        label = f"conv2d_{self.which}_explicit"
        gathers = tuple(number for number, stage in enumerate(stages) if isinstance(stage.kernel, RowIm2col))
        return Slices(
            label=label,
            stages=stages,
            parts=parts,
            groups=groups,
            arrays=tuple(arrays.items()),
            images=self.together,
            by_image=gathers,
        )

    def _stages(self) -> Iterator[Stage]:
        outs, gemm = self.convolution.group_no, self.products.gemm
        images = "grad_x" if self.which == "input_gradient" else "x"
        outputs = "y" if self.which == "forward" else "grad_y"
        cols = images if self.pointwise else "cols"
        made = "by_channel" if self.moved else outputs
        match self.which:
            case "forward":
                yield from self._gather(cols)
                product = gemm(outs, self.columns, self.depth, transpose_a=True)
                yield Stage.of(product, a="weight", b=cols, c=made)
                if self.bias:
                    yield Stage.of(gemm(outs, self.columns, 1, accumulate=True), a="bias", b="ones", c=made)
                if self.moved:
                    yield Stage.of(self._reorder(to_images=True), x=made, y=outputs)
            case "weight_gradient":
                yield from self._gather(cols)
                if self.moved:
                    yield Stage.of(self._reorder(to_images=False), x=outputs, y=made)
                product = gemm(self.depth, outs, self.columns, transpose_b=True, accumulate=True)
                yield Stage.of(product, a=cols, b=made, c="grad_weight")
            case "input_gradient":
                if self.moved:
                    yield Stage.of(self._reorder(to_images=False), x=outputs, y=made)
                yield Stage.of(gemm(self.depth, self.columns, outs), a="weight", b=made, c=cols)
                if not self.pointwise:
                    yield Stage.of(self.col2im(), cols=cols, x="grad_x")

    def _gather(self, cols: str) -> Iterator[Stage]:
        if not self.pointwise:
            image = replace(self.window, batch=1)
            yield Stage.of(RowIm2col(image, self.products.dtype, taps_first=True), x="x", cols=cols)

    def _reorder(self, *, to_images: bool) -> Copy:
        """Outputs between (channels, images, pixels) and (images, channels, pixels)."""
        outs = self.convolution.group_no
        shape = (outs, self.together, self.pixels) if to_images else (self.together, outs, self.pixels)
        return Copy(whole_move(shape, (1, 0, 2)), self.products.dtype, label="reorder")

    def col2im(self) -> OnMpe:
        """What adds the columns to the images."""
        window, dtype = self.window, self.products.dtype
        image = window.batch, window.height * window.width, window.channels
        return OnMpe(
            label="col2im_on_mpe",
            stages=(Stage.of(Col2im(window, dtype), cols="cols", x="x"),),
            elements=self.depth * self.columns,
            cycles=COL2IM_CYCLES,
            planar=(("cols", (1, self.columns, self.depth)), ("x", image)),
        )
