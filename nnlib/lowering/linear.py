"""Fully connected layers lowered."""

from __future__ import annotations

from nnlib.layers import Linear
from nnlib.lowering.products import lower_product, lower_product_gradients
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: Linear, site: Site) -> None:
    (depth,), (n,) = site.in_shape, site.out_shape
    lower_product(site, m=site.batch, n=n, k=depth, a=site.input, out=site.output(), bias=layer.bias)


@lower_backward_of.register
def _(layer: Linear, site: Site) -> None:
    (depth,), (n,) = site.in_shape, site.out_shape
    grad = site.input_gradient() if site.needs[0] else None
    lower_product_gradients(site, m=site.batch, n=n, k=depth, a=site.input, grad_a=grad, bias=layer.bias)
    if grad is not None:
        site.contribute(grad)
