"""Sums, means and repetition, lowered."""

from __future__ import annotations

from math import prod

from nnlib.kernels.pointwise.broadcasting import Repeat
from nnlib.layers.axis_reduction import Expand, Mean, Sum, batch_axes
from nnlib.layers.layer import Shape
from nnlib.lowering.axis_sums import reduce_axes
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register(Mean)
@lower_forward_of.register(Sum)
def _(layer: Mean | Sum, site: Site) -> None:
    whole = (site.batch, *site.in_shape)
    found = reduce_axes(
        site,
        site.input,
        whole,
        _kept(layer, site),
        function="mean" if isinstance(layer, Mean) else "sum",
        out=site.output,
        what="part",
    )
    if found == site.input:
        site.output_is(site.input)


@lower_backward_of.register(Mean)
@lower_backward_of.register(Sum)
def _(layer: Mean | Sum, site: Site) -> None:
    if not site.needs[0]:
        return
    whole, kept = (site.batch, *site.in_shape), _kept(layer, site)
    factor = prod(kept) / prod(whole) if isinstance(layer, Mean) else 1.0
    grad = site.input_gradient()
    site.launch(Repeat(kept, whole, site.dtype, factor), x=site.grad_output, y=grad)
    site.contribute(grad)


@lower_forward_of.register
def _(layer: Expand, site: Site) -> None:
    kernel = Repeat(_wide(site), (site.batch, *site.out_shape), site.dtype)
    site.launch(kernel, x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: Expand, site: Site) -> None:
    if not site.needs[0]:
        return
    whole = (site.batch, *site.out_shape)
    if _wide(site) == whole:
        site.pass_gradient()
        return
    found = reduce_axes(
        site, site.grad_output, whole, _wide(site), function="sum", out=site.input_gradient, what="sums"
    )
    site.contribute(found)


def _kept(layer: Mean | Sum, site: Site) -> Shape:
    """The batch's shape with the layer's axes one long."""
    axes = batch_axes(layer.axes, site.in_shape)
    return tuple(1 if axis in axes else length for axis, length in enumerate((site.batch, *site.in_shape)))


def _wide(site: Site) -> Shape:
    """The input's shape with as many axes as the output's."""
    ones = (1,) * (len(site.out_shape) - len(site.in_shape))
    return (site.batch, *ones, *site.in_shape)
