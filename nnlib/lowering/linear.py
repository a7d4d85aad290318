"""Fully connected layers lowered: one matrix product of the vectors of all samples."""

from __future__ import annotations

from nnlib.kernels.products.gemm import Gemm
from nnlib.layers.linear import Linear
from nnlib.lowering.products import add_bias, lower_bias_gradient
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.parts import Part


@part_of.register
def _(layer: Linear) -> Part:
    return "fc"


@lower_forward_of.register
def _(layer: Linear, site: Site) -> None:
    if site.choice.swcaffe is not None:
        from nnlib.lowering import swcaffe

        swcaffe.linear_forward(site.choice.swcaffe, layer, site)
        return
    rows, ins, outs = _sizes(layer, site)
    out = site.output()
    product = Gemm(m=rows, n=outs, k=ins, dtype=site.dtype, transpose_b=layer.transposed)
    site.launch(product, a=site.input, b=site.variable("weight"), c=out)
    if layer.bias:
        add_bias(site, out, rows=rows, channels=outs)


@lower_backward_of.register
def _(layer: Linear, site: Site) -> None:
    if site.choice.swcaffe is not None:
        from nnlib.lowering import swcaffe

        swcaffe.linear_backward(site.choice.swcaffe, layer, site)
        return
    rows, ins, outs = _sizes(layer, site)
    grad, weight_gradient = site.grad_output, site.parameter_gradient("weight")
    if layer.transposed:
        by_weight = Gemm(m=outs, n=ins, k=rows, dtype=site.dtype, transpose_a=True)
        site.launch(by_weight, a=grad, b=site.input, c=weight_gradient)
    else:
        by_weight = Gemm(m=ins, n=outs, k=rows, dtype=site.dtype, transpose_a=True)
        site.launch(by_weight, a=site.input, b=grad, c=weight_gradient)
    if layer.bias:
        lower_bias_gradient(site, rows=rows, channels=outs)
    if site.needs[0]:
        grad_x = site.input_gradient()
        by_x = Gemm(m=rows, n=ins, k=outs, dtype=site.dtype, transpose_b=not layer.transposed)
        site.launch(by_x, a=grad, b=site.variable("weight"), c=grad_x)
        site.contribute(grad_x)


def _sizes(layer: Linear, site: Site) -> tuple[int, int, int]:
    """Vectors of a batch, and their features in and out."""
    return site.elements(site.in_shape[:-1]), site.in_shape[-1], layer.out_features
