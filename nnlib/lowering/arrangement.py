"""Layers that arrange numbers anew, lowered."""

from __future__ import annotations

from nnlib.layers import Flatten
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: Flatten, site: Site) -> None:
    site.output_is(site.input)


@lower_backward_of.register
def _(layer: Flatten, site: Site) -> None:
    if site.needs[0]:
        site.pass_gradient()
