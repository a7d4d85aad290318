"""Pooling lowered."""

from __future__ import annotations

from nnlib.kernels import pooling as kernels
from nnlib.kernels.window import Window
from nnlib.layers import MaxPool
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: MaxPool, site: Site) -> None:
    site.launch(kernels.MaxPool(_window(layer, site), site.dtype), x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: MaxPool, site: Site) -> None:
    if not site.needs[0]:
        return
    grad = site.input_gradient()
    kernel = kernels.MaxPoolGradient(_window(layer, site), site.dtype)
    site.launch(kernel, x=site.input, grad_y=site.grad_output, grad_x=grad)
    site.contribute(grad)


def _window(layer: MaxPool, site: Site) -> Window:
    height, width, channels = site.in_shape
    return Window(site.batch, height, width, channels, layer.kernel, layer.stride)
