"""Kernels one after the other over parts of a batch: parts that only repeat are not simulated again."""

from __future__ import annotations

import pytest

from nnlib.kernels.chained import Chained, Stage
from nnlib.kernels.convolutions.im2col import Col2im, Im2col, column_shape
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.simulation import simulate
from nnlib.kernels.window import Window
from sim.machine.load import load_machine

pytestmark = pytest.mark.timing

PARTS = 9


def convolutions(width: int) -> list[Chained]:
    """A convolution of 3 channels to 8, and its gradient by the images, one sample after the other."""
    window = Window(batch=1, height=5, width=width, channels=3, kernel=(3, 3), padding=1)
    pixels, depth = column_shape(window, "channels-last")
    forward = (
        Stage.of(Im2col(window, "fp64"), x="x", cols="cols"),
        Stage.of(Gemm(m=pixels, n=8, k=depth, dtype="fp64"), a="cols", b="weight", c="y"),
    )
    backward = (
        Stage.of(Gemm(m=pixels, n=depth, k=8, dtype="fp64", transpose_b=True), a="grad", b="weight", c="cols"),
        Stage.of(Col2im(window, "fp64"), cols="cols", x="x"),
    )
    return [
        Chained(label="convolution", stages=forward, parts=PARTS, divided=("x", "y")),
        Chained(label="convolution_input_gradient", stages=backward, parts=PARTS, divided=("grad", "x")),
    ]


@pytest.mark.parametrize("width", [16, 7])
def test_repeated_parts_cost_what_simulated_ones_do(width: int) -> None:
    """Images 7 pixels wide begin at other places of a memory line from one to the next."""
    processor = load_machine("sunway_taihulight").processor
    for kernel in convolutions(width):
        cut, plain = (simulate(kernel, processor=processor, plainly=plainly) for plainly in (False, True))
        assert cut == plain
        loops = {loop.name: loop for loop in cut.loops}
        assert loops[kernel.name].iterations == PARTS
        if width == 16:
            assert loops[kernel.name].simulated < PARTS
