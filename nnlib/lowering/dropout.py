"""Dropout lowered: the mask is computed where it is needed, forward and backward, from the layer's key."""

from __future__ import annotations

from math import prod

from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pointwise.dropout import Dropout as DropoutKernel
from nnlib.layers.dropout import Dropout
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: Dropout, site: Site) -> None:
    if not site.training or layer.rate == 0:
        site.output_is(site.input)
        return
    site.launch(_kernel(layer, site, forward=True), x=site.input, hyper=site.random_key(), y=site.output())


@lower_backward_of.register
def _(layer: Dropout, site: Site) -> None:
    if not site.needs[0]:
        return
    if layer.rate == 0:
        site.pass_gradient()
        return
    grad = site.input_gradient()
    site.launch(_kernel(layer, site, forward=False), x=site.grad_output, hyper=site.random_key(), y=grad)
    site.contribute(grad)


def _kernel(layer: Dropout, site: Site, *, forward: bool) -> Kernel:
    kernel = DropoutKernel(site.batch, prod(site.in_shape), layer.rate, site.dtype)
    if site.choice.swcaffe is None:
        return kernel
    from nnlib.lowering import swcaffe

    return swcaffe.dropout(kernel, forward=forward)
