"""Draws of a variational autoencoder's code lowered."""

from __future__ import annotations

from math import prod

from nnlib.kernels.pointwise import reparameterise as kernels
from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.layers.reparameterise import Reparameterise
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: Reparameterise, site: Site) -> None:
    mean, log_variance = site.inputs
    if not site.training:
        site.output_is(mean)
        return
    elements = prod(site.out_shape)
    site.launch(
        kernels.Reparameterise(site.batch, elements, site.dtype),
        mean=mean,
        log_variance=log_variance,
        hyper=site.random_key(),
        y=site.output(),
        spread=site.buffer("spread", (site.batch, elements)),
    )


@lower_backward_of.register
def _(layer: Reparameterise, site: Site) -> None:
    if site.needs[0]:
        site.pass_gradient(0)
    if site.needs[1]:
        grad = site.input_gradient(1)
        kernel = Elementwise("multiply", site.elements(site.out_shape), site.dtype)
        site.launch(kernel, x=site.made("spread"), y=site.grad_output, z=grad)
        site.contribute(grad, 1)
