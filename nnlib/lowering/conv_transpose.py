"""Transposed convolutions lowered: each is its mirrored one the other way round, forward from columns to images."""

from __future__ import annotations

from nnlib.kernels.arranging.layout import Transpose
from nnlib.kernels.convolutions.depthwise import DepthwiseForward, DepthwiseInputGradient, DepthwiseWeightGradient
from nnlib.kernels.convolutions.patch_window import PatchWindow
from nnlib.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from nnlib.lowering.columns import ColumnProducts, images_of
from nnlib.lowering.products import add_bias, lower_bias_gradient
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.ops.conv_transpose import mirrored_padding
from nnlib.ops.reach import reaches
from nnlib.parts import Part


@part_of.register
def _(layer: ConvTranspose2d | ConvTranspose1d) -> Part:
    return "conv"


@lower_forward_of.register
def _(layer: ConvTranspose2d | ConvTranspose1d, site: Site) -> None:
    products = _mirrored_products(layer, site)
    out = site.output()
    if products.is_depthwise:
        kernel = DepthwiseInputGradient(products.window, site.dtype)
        site.launch(kernel, grad_y=site.input, weight=site.variable("weight"), grad_x=out)
    else:
        weight = site.buffer("mirrored", products.weight_shape)
        site.launch(_turn(products, site, to_mirrored=True), x=site.variable("weight"), y=weight)
        products.by_images(site.input, "cols", weight, out)
    if layer.bias:
        add_bias(site, out, rows=site.elements(site.out_shape[:-1]), channels=layer.out_channels)


@lower_backward_of.register
def _(layer: ConvTranspose2d | ConvTranspose1d, site: Site) -> None:
    products = _mirrored_products(layer, site)
    grad, window = site.grad_output, products.window
    weight_gradient = site.parameter_gradient("weight")
    if products.is_depthwise:
        by_weight = DepthwiseWeightGradient(window, site.dtype)
        site.launch(by_weight, grad_y=site.input, x=grad, grad_weight=weight_gradient)
    else:
        products.prepare(grad, "grad_cols")
        mirrored = site.buffer("grad_mirrored", products.weight_shape)
        products.by_weight(grad, "grad_cols", site.input, mirrored)
        site.launch(_turn(products, site, to_mirrored=False), x=mirrored, y=weight_gradient)
    if layer.bias:
        lower_bias_gradient(site, rows=site.elements(site.out_shape[:-1]), channels=layer.out_channels)
    if site.needs[0]:
        grad_x = site.input_gradient()
        if products.is_depthwise:
            kernel = DepthwiseForward(window, site.dtype)
            site.launch(kernel, x=grad, weight=site.variable("weight"), y=grad_x)
        else:
            products.forward(grad, "grad_cols", site.made("mirrored"), grad_x)
        site.contribute(grad_x)


def _mirrored_products(layer: ConvTranspose2d | ConvTranspose1d, site: Site) -> ColumnProducts:
    """Those of the convolution from the outputs to the inputs."""
    image = layer.image_layer if isinstance(layer, ConvTranspose1d) else layer
    height, width, channels = images_of(site.out_shape)
    padding = mirrored_padding(image.padding, image.output_padding)
    rows, columns = reaches(
        (height, width), image.kernel, stride=image.stride, padding=padding, dilation=image.dilation
    )
    window = PatchWindow(batch=site.batch, channels=channels, rows=rows, columns=columns)
    return ColumnProducts(site=site, window=window, out_channels=site.in_shape[-1], groups=layer.groups)


def _turn(products: ColumnProducts, site: Site, *, to_mirrored: bool) -> Transpose:
    """Between the weights (taps, Ni, No of a group) and the mirrored convolution's (taps, No of a group, Ni)."""
    taps, outs, ins = products.weight_shape
    rows, columns = (ins, outs) if to_mirrored else (outs, ins)
    return Transpose(matrices=taps, rows=rows, columns=columns, dtype=site.dtype)
