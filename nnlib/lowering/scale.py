"""Scale and offset lowered."""

from __future__ import annotations

from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.layers.scale import Scale
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: Scale, site: Site) -> None:
    kernel = Elementwise("affine", site.elements(site.out_shape), site.dtype, (layer.factor, layer.offset))
    site.launch(kernel, x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: Scale, site: Site) -> None:
    if not site.needs[0]:
        return
    grad = site.input_gradient()
    kernel = Elementwise("affine", site.elements(site.out_shape), site.dtype, (layer.factor, 0.0))
    site.launch(kernel, x=site.grad_output, y=grad)
    site.contribute(grad)
