"""The largest numbers under windows lowered."""

from __future__ import annotations

from nnlib.kernels.reducing import pooling as kernels
from nnlib.kernels.reducing.pool_window import PoolWindow
from nnlib.layers.max_pooling import MaxPool, MaxPool1d
from nnlib.lowering.pooling import images_of, two_axes
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.program import Layout

part_of.register(MaxPool, lambda _: "pool")
part_of.register(MaxPool1d, lambda _: "pool")


@lower_forward_of.register(MaxPool)
@lower_forward_of.register(MaxPool1d)
def _(layer: MaxPool | MaxPool1d, site: Site) -> None:
    layout = site.layout()
    kernel = kernels.MaxPool(_window(layer, site, layout), site.dtype)
    site.launch(kernel, x=site.input_as(layout), y=site.output(layout))


@lower_backward_of.register(MaxPool)
@lower_backward_of.register(MaxPool1d)
def _(layer: MaxPool | MaxPool1d, site: Site) -> None:
    if not site.needs[0]:
        return
    layout = site.layout()
    grad = site.input_gradient(layout=layout)
    kernel = kernels.MaxPoolGradient(_window(layer, site, layout), site.dtype)
    site.launch(kernel, x=site.input_as(layout), grad_y=site.grad_output_as(layout), grad_x=grad)
    site.contribute(grad)


def _window(layer: MaxPool | MaxPool1d, site: Site, layout: Layout) -> PoolWindow:
    rows, columns = two_axes(layer.axes(site.in_shape))
    images, channels = images_of(site, layout)
    return PoolWindow(images, rows, columns, channels)
