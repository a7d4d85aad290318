"""Products of activations lowered."""

from __future__ import annotations

import numpy as np

from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.products.stacked_gemm import StackedGemm
from nnlib.layers.matmul import MatMul
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of
from sim.chip.memory import Shape


@lower_forward_of.register
def _(layer: MatMul, site: Site) -> None:
    (a, b), (m, n, k) = _stacks(layer, site)
    gemm = Gemm(m=m, n=n, k=k, dtype=site.dtype, transpose_a=layer.transpose_a, transpose_b=layer.transpose_b)
    kernel = StackedGemm(gemm=gemm, a_leading=a, b_leading=b, c_leading=np.broadcast_shapes(a, b))
    site.launch(kernel, a=site.inputs[0], b=site.inputs[1], c=site.output())


@lower_backward_of.register
def _(layer: MatMul, site: Site) -> None:
    (a, b), (m, n, k) = _stacks(layer, site)
    c = np.broadcast_shapes(a, b)
    left, right = site.inputs
    swap_a, swap_b = layer.transpose_a, layer.transpose_b
    if site.needs[0]:
        grad = site.input_gradient(0)
        if swap_a:  # (k, m): op(b) · gradᵀ
            gemm = Gemm(m=k, n=m, k=n, dtype=site.dtype, transpose_a=swap_b, transpose_b=True)
            kernel = StackedGemm(gemm=gemm, a_leading=b, b_leading=c, c_leading=a)
            site.launch(kernel, a=right, b=site.grad_output, c=grad)
        else:  # (m, k): grad · op(b)ᵀ
            gemm = Gemm(m=m, n=k, k=n, dtype=site.dtype, transpose_b=not swap_b)
            kernel = StackedGemm(gemm=gemm, a_leading=c, b_leading=b, c_leading=a)
            site.launch(kernel, a=site.grad_output, b=right, c=grad)
        site.contribute(grad, 0)
    if site.needs[1]:
        grad = site.input_gradient(1)
        if swap_b:  # (n, k): gradᵀ · op(a)
            gemm = Gemm(m=n, n=k, k=m, dtype=site.dtype, transpose_a=True, transpose_b=swap_a)
            kernel = StackedGemm(gemm=gemm, a_leading=c, b_leading=a, c_leading=b)
            site.launch(kernel, a=site.grad_output, b=left, c=grad)
        else:  # (k, n): op(a)ᵀ · grad
            gemm = Gemm(m=k, n=n, k=m, dtype=site.dtype, transpose_a=not swap_a)
            kernel = StackedGemm(gemm=gemm, a_leading=a, b_leading=c, c_leading=b)
            site.launch(kernel, a=left, b=site.grad_output, c=grad)
        site.contribute(grad, 1)


def _stacks(layer: MatMul, site: Site) -> tuple[tuple[Shape, Shape], tuple[int, int, int]]:
    """Leading axes of both operands, samples and as many others, and m, n and k."""
    _, m, n, k = layer.sizes(site.in_shapes)
    axes = max(len(shape) for shape in site.in_shapes)
    a, b = ((site.batch, *(1,) * (axes - len(shape)), *shape[:-2]) for shape in site.in_shapes)
    return (a, b), (m, n, k)
