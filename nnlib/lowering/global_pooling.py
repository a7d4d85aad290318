"""Pooling of all pixels lowered."""

from __future__ import annotations

from nnlib.kernels.pointwise.broadcasting import Repeat
from nnlib.kernels.reducing.axis_reduction import AxisMaxGradient, AxisReduce
from nnlib.layers.global_pooling import GlobalAveragePool, GlobalMaxPool
from nnlib.lowering.pooling import images_of, pixels_of
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.program import Layout

part_of.register(GlobalAveragePool, lambda _: "pool")
part_of.register(GlobalMaxPool, lambda _: "pool")


@lower_forward_of.register
def _(layer: GlobalAveragePool, site: Site) -> None:
    global_average(site)


@lower_backward_of.register
def _(layer: GlobalAveragePool, site: Site) -> None:
    if site.needs[0]:
        global_average_gradient(site)


@lower_forward_of.register
def _(layer: GlobalMaxPool, site: Site) -> None:
    pixels, channels = pixels_of(site)
    site.launch(AxisReduce("max", site.batch, pixels, channels, site.dtype), x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: GlobalMaxPool, site: Site) -> None:
    if not site.needs[0]:
        return
    pixels, channels = pixels_of(site)
    grad = site.input_gradient()
    kernel = AxisMaxGradient(site.batch, pixels, channels, site.dtype)
    site.launch(kernel, x=site.input, y=site.name, grad_y=site.grad_output, grad_x=grad)
    site.contribute(grad)


def global_average(site: Site) -> None:
    """Launch the means of all pixels."""
    layout: Layout = "planar" if site.layout() == "planar" else "channels-last"
    pixels, _ = pixels_of(site)
    images, channels = images_of(site, layout)
    kernel = AxisReduce("mean", images, pixels, channels, site.dtype)
    site.launch(kernel, x=site.input_as(layout), y=site.output())


def global_average_gradient(site: Site) -> None:
    """Launch their gradient."""
    layout: Layout = "planar" if site.layout() == "planar" else "channels-last"
    pixels, _ = pixels_of(site)
    images, channels = images_of(site, layout)
    grad = site.input_gradient(layout=layout)
    kernel = Repeat((images, 1, channels), (images, pixels, channels), site.dtype, 1 / pixels)
    site.launch(kernel, x=site.grad_output, y=grad)
    site.contribute(grad)
