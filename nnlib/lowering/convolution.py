"""Convolutions lowered to explicit matrix products, or, channel by channel, to depthwise kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nnlib.kernels.convolutions.patch_window import PatchWindow
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.lowering.columns import ColumnProducts, images_of
from nnlib.lowering.products import add_bias, lower_bias_gradient
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.ops.reach import reaches
from nnlib.parts import Part

if TYPE_CHECKING:
    from nnlib.kernels.convolutions.convolution import Convolution, Pass
    from nnlib.lowering.planner import Planned

GRADIENTS: Final[tuple[Pass, ...]] = ("weight_gradient", "input_gradient")


@part_of.register
def _(layer: Conv2d | Conv1d) -> Part:
    return "conv"


@lower_forward_of.register
def _(layer: Conv2d | Conv1d, site: Site) -> None:
    convolution = _convolution(layer, site)
    if convolution is not None and isinstance(layer, Conv2d):
        from nnlib.lowering import swcaffe, tuned

        plan = tuned.planned(site, convolution, "forward")
        if plan is not None:
            tuned.forward(plan, layer, site)
            return
        if site.choice.swcaffe is not None:
            swcaffe.convolution_forward(site.choice.swcaffe, convolution, layer, site)
            return
    products = _products(layer, site)
    weight, out = site.variable("weight"), site.output()
    if products.is_depthwise:
        from nnlib.kernels.convolutions.depthwise import DepthwiseForward

        site.launch(DepthwiseForward(products.window, site.dtype), x=site.input, weight=weight, y=out)
    else:
        products.prepare(site.input, "cols")
        products.forward(site.input, "cols", weight, out)
    if layer.bias:
        add_bias(site, out, rows=products.pixels, channels=layer.out_channels)


@lower_backward_of.register
def _(layer: Conv2d | Conv1d, site: Site) -> None:
    convolution = _convolution(layer, site)
    plans: dict[Pass, Planned | None] = dict.fromkeys(GRADIENTS)
    if convolution is not None and isinstance(layer, Conv2d):
        from nnlib.lowering import swcaffe, tuned

        if site.choice.swcaffe is not None:
            swcaffe.convolution_backward(site.choice.swcaffe, convolution, layer, site)
            return
        plans = {which: tuned.planned(site, convolution, which) for which in GRADIENTS}
    products = _products(layer, site)
    weight_gradient = site.parameter_gradient("weight")
    _by_weight(products, plans["weight_gradient"], site, weight_gradient)
    if layer.bias:
        lower_bias_gradient(site, rows=products.pixels, channels=layer.out_channels)
    if site.needs[0]:
        _by_images(products, plans["input_gradient"], site)


def _convolution(layer: Conv2d | Conv1d, site: Site) -> Convolution | None:
    """The convolution for which libraries have other plans than explicit products; None where there are none."""
    if not site.choice.has_other_plans or not isinstance(layer, Conv2d):
        return None
    from nnlib.lowering import swcaffe

    return swcaffe.convolution_of(layer, site)


def _by_weight(products: ColumnProducts, plan: Planned | None, site: Site, weight_gradient: str) -> None:
    if plan is not None:
        from nnlib.lowering import tuned

        tuned.by_weight(plan, site, weight_gradient)
        return
    grad = site.grad_output
    if products.is_depthwise:
        from nnlib.kernels.convolutions.depthwise import DepthwiseWeightGradient

        by_weight = DepthwiseWeightGradient(products.window, site.dtype)
        site.launch(by_weight, grad_y=grad, x=site.input, grad_weight=weight_gradient)
        return
    if not products.is_prepared("cols"):
        products.prepare(site.input, "cols")
    products.by_weight(site.input, "cols", grad, weight_gradient)


def _by_images(products: ColumnProducts, plan: Planned | None, site: Site) -> None:
    if plan is not None:
        from nnlib.lowering import tuned

        tuned.by_images(plan, site)
        return
    grad, weight = site.grad_output, site.variable("weight")
    grad_x = site.input_gradient()
    if products.is_depthwise:
        from nnlib.kernels.convolutions.depthwise import DepthwiseInputGradient

        site.launch(DepthwiseInputGradient(products.window, site.dtype), grad_y=grad, weight=weight, grad_x=grad_x)
    else:
        products.by_images(grad, "grad_cols", weight, grad_x)
    site.contribute(grad_x)


def _products(layer: Conv2d | Conv1d, site: Site) -> ColumnProducts:
    image = layer.image_layer if isinstance(layer, Conv1d) else layer
    height, width, channels = images_of(site.in_shape)
    rows, columns = reaches(
        (height, width), image.kernel, stride=image.stride, padding=image.padding, dilation=image.dilation
    )
    window = PatchWindow(batch=site.batch, channels=channels, rows=rows, columns=columns)
    return ColumnProducts(site=site, window=window, out_channels=layer.out_channels, groups=layer.groups)
