"""Activations lowered."""

from __future__ import annotations

from nnlib.kernels.elementwise import Elementwise
from nnlib.layers import ReLU
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: ReLU, site: Site) -> None:
    site.launch(Elementwise("relu", site.elements(site.out_shape), site.dtype), x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: ReLU, site: Site) -> None:
    if not site.needs[0]:
        return
    grad = site.input_gradient()
    kernel = Elementwise("relu_gradient", site.elements(site.out_shape), site.dtype)
    site.launch(kernel, y=site.name, grad_y=site.grad_output, grad_x=grad)
    site.contribute(grad)
