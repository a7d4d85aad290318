"""Means under windows lowered."""

from __future__ import annotations

from nnlib.kernels.arranging.resampling import Resample
from nnlib.kernels.reducing.axis_rules import Averaged
from nnlib.layers.average_pooling import AveragePool, AveragePool1d
from nnlib.lowering.pooling import images_of, two_axes
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.program import Layout

part_of.register(AveragePool, lambda _: "pool")
part_of.register(AveragePool1d, lambda _: "pool")


@lower_forward_of.register(AveragePool)
@lower_forward_of.register(AveragePool1d)
def _(layer: AveragePool | AveragePool1d, site: Site) -> None:
    layout = site.layout()
    kernel = _average(layer, site, layout, gradient=False)
    site.launch(kernel, x=site.input_as(layout), y=site.output(layout))


@lower_backward_of.register(AveragePool)
@lower_backward_of.register(AveragePool1d)
def _(layer: AveragePool | AveragePool1d, site: Site) -> None:
    if not site.needs[0]:
        return
    layout = site.layout()
    grad = site.input_gradient(layout=layout)
    site.launch(_average(layer, site, layout, gradient=True), x=site.grad_output_as(layout), y=grad)
    site.contribute(grad)


def _average(layer: AveragePool | AveragePool1d, site: Site, layout: Layout, *, gradient: bool) -> Resample:
    rows, columns = (Averaged(pool, layer.count_padding) for pool in two_axes(layer.axes(site.in_shape)))
    images, channels = images_of(site, layout)
    return Resample(images, rows, columns, channels, site.dtype, gradient, "average_pool")
