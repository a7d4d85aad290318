"""Biases beside the matrix products of linear layers and convolutions."""

from __future__ import annotations

from nnlib.kernels.pointwise.elementwise import BiasAdd
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.lowering.site import Site


def add_bias(site: Site, out: str, *, rows: int, channels: int) -> None:
    """``out`` (rows, channels) + bias, in place."""
    site.launch(BiasAdd(rows=rows, channels=channels, dtype=site.dtype), y=out, bias=site.variable("bias"))


def lower_bias_gradient(site: Site, *, rows: int, channels: int) -> None:
    """The gradient by the bias from that by the output (rows, channels)."""
    kernel = ColumnSum(rows=rows, columns=channels, dtype=site.dtype)
    site.launch(kernel, x=site.grad_output, total=site.parameter_gradient("bias"))
