"""Activations lowered."""

from __future__ import annotations

from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.pointwise.functions.activations import gradient_name
from nnlib.kernels.pointwise.prelu import Prelu, PreluGradient
from nnlib.layers.activation import POINTWISE, Pointwise
from nnlib.layers.prelu import PReLU
from nnlib.layers.scale import Scale
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.ops.activation import ACTIVATIONS
from nnlib.parts import Part


def _forward(layer: Pointwise, site: Site) -> None:
    kernel = Elementwise(layer.function, site.elements(site.out_shape), site.dtype, tuple(layer.options.values()))
    layout = site.layout()
    site.launch(kernel, x=site.input_as(layout), y=site.output(layout))


def _backward(layer: Pointwise, site: Site) -> None:
    if not site.needs[0]:
        return
    kernel = Elementwise(
        gradient_name(layer.function), site.elements(site.out_shape), site.dtype, tuple(layer.options.values())
    )
    layout = site.layout()
    grad = site.input_gradient(layout=layout)
    saves_output = ACTIVATIONS[layer.function].saves == "output"
    saved = {"y": site.name} if saves_output else {"x": site.input_as(layout)}
    site.launch(kernel, **saved, grad_y=site.grad_output_as(layout), grad_x=grad)
    site.contribute(grad)


def _part(layer: Pointwise | PReLU) -> Part:
    return "activation"


part_of.register(PReLU, _part)
for _kind in POINTWISE:
    part_of.register(_kind, _part)
    lower_forward_of.register(_kind, _forward)
    lower_backward_of.register(_kind, _backward)


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


@lower_forward_of.register
def _(layer: PReLU, site: Site) -> None:
    kernel = Prelu(*_rows(layer, site), dtype=site.dtype)
    site.launch(kernel, x=site.input, slope=site.variable("slope"), y=site.output())


@lower_backward_of.register
def _(layer: PReLU, site: Site) -> None:
    grad = site.input_gradient()
    site.launch(
        PreluGradient(*_rows(layer, site), dtype=site.dtype),
        x=site.input,
        slope=site.variable("slope"),
        grad_y=site.grad_output,
        grad_x=grad,
        grad_slope=site.parameter_gradient("slope"),
    )
    if site.needs[0]:
        site.contribute(grad)


def _rows(layer: PReLU, site: Site) -> tuple[int, int]:
    """Rows and channels; a slope of all is that of one channel."""
    channels = 1 if layer.shared else site.out_shape[-1]
    return site.elements(site.out_shape) // channels, channels
