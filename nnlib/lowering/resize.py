"""Resizing lowered."""

from __future__ import annotations

from nnlib.kernels.arranging.resampling import Resample
from nnlib.kernels.reducing.axis_rules import AxisRule, Resized, Same
from nnlib.layers.resize import Upsample
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: Upsample, site: Site) -> None:
    site.launch(_kernel(layer, site, gradient=False), x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: Upsample, site: Site) -> None:
    if not site.needs[0]:
        return
    grad = site.input_gradient()
    site.launch(_kernel(layer, site, gradient=True), x=site.grad_output, y=grad)
    site.contribute(grad)


def _kernel(layer: Upsample, site: Site, *, gradient: bool) -> Resample:
    rules: list[AxisRule] = [
        Resized(length, size, layer.mode, layer.align_corners)
        for length, size in zip(site.in_shape[:-1], site.out_shape[:-1], strict=True)
    ]
    columns = rules[1] if len(rules) == 2 else Same(1)
    return Resample(site.batch, rules[0], columns, site.in_shape[-1], site.dtype, gradient, "upsample")
