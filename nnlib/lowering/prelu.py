"""The rectifier with learned slopes lowered."""

from __future__ import annotations

from nnlib.kernels.pointwise.prelu import Prelu, PreluGradient
from nnlib.layers.prelu import PReLU
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of

part_of.register(PReLU, lambda _: "activation")


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
