"""Normalisation by the neighbouring channels lowered."""

from __future__ import annotations

from nnlib.kernels.normalisation.local_response import (
    LocalResponseNormalisation,
    LocalResponseNormalisationGradient,
    ResponseWindow,
)
from nnlib.layers.local_response import LocalResponseNorm
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: LocalResponseNorm, site: Site) -> None:
    rows, channels = site.elements(site.in_shape[:-1]), site.in_shape[-1]
    kernel = LocalResponseNormalisation(rows, channels, _window(layer), site.dtype)
    site.launch(kernel, x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: LocalResponseNorm, site: Site) -> None:
    if not site.needs[0]:
        return
    rows, channels = site.elements(site.in_shape[:-1]), site.in_shape[-1]
    grad = site.input_gradient()
    kernel = LocalResponseNormalisationGradient(rows, channels, _window(layer), site.dtype)
    site.launch(kernel, grad_y=site.grad_output, x=site.input, grad_x=grad)
    site.contribute(grad)


def _window(layer: LocalResponseNorm) -> ResponseWindow:
    return ResponseWindow(size=layer.size, alpha=layer.alpha, beta=layer.beta, k=layer.k)
