"""Kernels over sequences, from sizes as a user gives them."""

from __future__ import annotations

from collections.abc import Mapping

from nnlib.kernels.generations import Library
from nnlib.kernels.launch import Launch
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.sequences.ctc import CtcLoss
from nnlib.kernels.sequences.recurrent import RecurrentLayer, RecurrentLayerGradient
from nnlib.kernels.sequences.recurrent_gates import GATES, CellName
from nnlib.kernels.sequences.recurrent_shape import RecurrentShape
from nnlib.kernels.sequences.row_convolution import Pass, RowConvolution
from nnlib.precision import DTypeName

Sizes = Mapping[str, int]

RECURRENT = {"batch": "sequences", "steps": "steps of each", "ni": "inputs", "no": "units"}
ROW_CONVOLUTION = {"batch": "sequences", "steps": "steps of each", "ni": "channels", "k": "steps that are seen"}
CTC = {"batch": "sequences", "steps": "steps of each", "columns": "classes, the blank among them", "labels": "labels"}


def recurrent(cell: CellName, sizes: Sizes, dtype: DTypeName, library: Library) -> tuple[Launch, ...]:
    """The inputs' products, then all steps."""
    shape = _shape(cell, sizes)
    product = Gemm(m=shape.batch * shape.steps, n=shape.columns, k=sizes["ni"], dtype=dtype, library=library)
    layer = RecurrentLayer(shape=shape, dtype=dtype, resident=bool(sizes["resident"]), library=library)
    return Launch.of(product, a="x", b="input_weight", c="x_product"), Launch.of(layer)


def recurrent_gradient(cell: CellName, sizes: Sizes, dtype: DTypeName, library: Library) -> tuple[Launch, ...]:
    """All steps back, then the gradients by the input weights and by the inputs."""
    shape = _shape(cell, sizes)
    rows, inputs = shape.batch * shape.steps, sizes["ni"]
    layer = RecurrentLayerGradient(shape=shape, dtype=dtype, resident=bool(sizes["resident"]), library=library)
    by_weight = Gemm(m=inputs, n=shape.columns, k=rows, dtype=dtype, transpose_a=True, library=library)
    by_input = Gemm(m=rows, n=inputs, k=shape.columns, dtype=dtype, transpose_b=True, library=library)
    return (
        Launch.of(layer),
        Launch.of(by_weight, a="x", b="grad_product", c="grad_input_weight"),
        Launch.of(by_input, a="grad_product", b="input_weight", c="grad_x"),
    )


def recurrent_flops(cell: CellName, sizes: Sizes, *, products: int) -> int:
    """Of the matrix products; ``products`` of each pair of matrices."""
    columns = GATES[cell] * sizes["no"]
    return 2 * products * sizes["batch"] * sizes["steps"] * columns * (sizes["ni"] + sizes["no"])


def row_convolution(towards: Pass, sizes: Sizes, dtype: DTypeName) -> RowConvolution:
    return RowConvolution(
        batch=sizes["batch"],
        steps=sizes["steps"],
        channels=sizes["ni"],
        taps=sizes["k"],
        dtype=dtype,
        towards=towards,
    )


def ctc(sizes: Sizes, dtype: DTypeName) -> CtcLoss:
    """Loss and gradient, of inputs that are as long as there are steps."""
    return CtcLoss(
        batch=sizes["batch"],
        steps=sizes["steps"],
        classes=sizes["columns"],
        labels=sizes["labels"],
        dtype=dtype,
        masked=False,
    )


def _shape(cell: CellName, sizes: Sizes) -> RecurrentShape:
    return RecurrentShape(cell=cell, batch=sizes["batch"], steps=sizes["steps"], hidden=sizes["no"])
