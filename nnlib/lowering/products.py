"""Matrix products with a bias, as linear layers and explicit convolutions have them."""

from __future__ import annotations

from nnlib.kernels.elementwise import BiasAdd
from nnlib.kernels.gemm import Gemm
from nnlib.kernels.reduction import ColumnSum
from nnlib.lowering.site import Site


def lower_product(site: Site, *, m: int, n: int, k: int, a: str, out: str, bias: bool) -> None:
    """``out = a·weight + bias`` with a (m, k) and weight (k, n)."""
    site.launch(Gemm(m=m, n=n, k=k, dtype=site.dtype), a=a, b=site.variable("weight"), c=out)
    if bias:
        site.launch(BiasAdd(rows=m, channels=n, dtype=site.dtype), y=out, bias=site.variable("bias"))


def lower_product_gradients(site: Site, *, m: int, n: int, k: int, a: str, grad_a: str | None, bias: bool) -> None:
    """The gradients of ``out = a·weight + bias`` by weight, bias and, where wanted, a."""
    grad = site.grad_output
    weight = Gemm(m=k, n=n, k=m, dtype=site.dtype, transpose_a=True)
    site.launch(weight, a=a, b=grad, c=site.parameter_gradient("weight"))
    if bias:
        kernel = ColumnSum(rows=m, columns=n, dtype=site.dtype)
        site.launch(kernel, x=grad, total=site.parameter_gradient("bias"))
    if grad_a is not None:
        kernel_a = Gemm(m=m, n=k, k=n, dtype=site.dtype, transpose_b=True)
        site.launch(kernel_a, a=grad, b=site.variable("weight"), c=grad_a)
