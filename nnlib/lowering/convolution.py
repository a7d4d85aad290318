"""Convolutions lowered to explicit matrix products."""

from __future__ import annotations

from nnlib.kernels.im2col import Col2im, Im2col
from nnlib.kernels.window import Window
from nnlib.layers import Conv2d
from nnlib.lowering.products import lower_product, lower_product_gradients
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: Conv2d, site: Site) -> None:
    window = _window(layer, site)
    rows = site.batch * window.out_height * window.out_width
    depth = window.taps * window.channels
    cols = site.buffer("cols", (rows, depth))
    out = site.output()
    site.launch(Im2col(window, site.dtype), x=site.input, cols=cols)
    lower_product(site, m=rows, n=layer.out_channels, k=depth, a=cols, out=out, bias=layer.bias)


@lower_backward_of.register
def _(layer: Conv2d, site: Site) -> None:
    window = _window(layer, site)
    rows = site.batch * window.out_height * window.out_width
    depth = window.taps * window.channels
    grad_cols = site.buffer("grad_cols", (rows, depth)) if site.needs[0] else None
    lower_product_gradients(
        site, m=rows, n=layer.out_channels, k=depth, a=site.made("cols"), grad_a=grad_cols, bias=layer.bias
    )
    if grad_cols is not None:
        grad = site.input_gradient()
        site.launch(Col2im(window, site.dtype), cols=grad_cols, x=grad)
        site.contribute(grad)


def _window(layer: Conv2d, site: Site) -> Window:
    height, width, channels = site.in_shape
    return Window(site.batch, height, width, channels, layer.kernel, layer.stride, layer.padding)
