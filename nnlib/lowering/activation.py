"""Activations lowered."""

from __future__ import annotations

from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.pointwise.functions.activations import gradient_name
from nnlib.layers.activation import POINTWISE, Pointwise
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.ops.activation import ACTIVATIONS


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


for _kind in POINTWISE:
    part_of.register(_kind, lambda _: "activation")
    lower_forward_of.register(_kind, _forward)
    lower_backward_of.register(_kind, _backward)
