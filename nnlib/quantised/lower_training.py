"""Training in fixed point lowered: kernels compute in fp64, and what they leave in memory is made integers.

Behind the launches of a layer come those that find the step of its result, make integers of it, and give the next
layers real numbers of these again; so it is with the gradient that comes to a layer and with its parameters' gradients.
The SW26010 has no arithmetic on 16-bit numbers that would spare them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nnlib.kernels.fixed.dynamic_step import DynamicStep
from nnlib.kernels.fixed.fixed_point import Dequantise, Quantise
from nnlib.kernels.kernel import Kernel
from nnlib.layers.arrangement import Flatten, Reshape
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of
from nnlib.precision import DTypeName
from nnlib.precision.random import KEY_NUMBERS
from nnlib.quantised.layer import BoundaryLayer, FixedBoundary
from nnlib.quantised.scheme import FixedScheme

OTHER_SHAPES: Final = (Flatten, Reshape)
"""Layers whose output is their input's buffer: it is rounded already."""


@lower_forward_of.register
def _(layer: BoundaryLayer, site: Site) -> None:
    lower_forward_of(layer.inner, site)
    scheme = fixed_scheme(layer)
    if scheme is not None and not isinstance(layer.inner, OTHER_SHAPES):
        rounding = "nearest" if not site.training else scheme.rounding
        _round(site, site.name, "y", scheme, stochastic=rounding == "stochastic")


@lower_backward_of.register
def _(layer: BoundaryLayer, site: Site) -> None:
    scheme = fixed_scheme(layer)
    stochastic = scheme is not None and scheme.rounding == "stochastic"
    if scheme is not None:
        _round(site, site.grad_output, "grad_y", scheme, stochastic=stochastic)
    lower_backward_of(layer.inner, site)
    if scheme is None:
        return
    for name in layer.inner.parameter_shapes(site.in_shapes):
        gradient = f"grad:{site.variable(name)}"
        if gradient in site.builder.shapes:
            _round(site, gradient, name, scheme, stochastic=stochastic)


def fixed_scheme(layer: BoundaryLayer) -> FixedScheme | None:
    """The scheme of a layer in fixed point; None where numbers are only stored otherwise, which kernels do."""
    return layer.boundary.scheme if isinstance(layer.boundary, FixedBoundary) else None


def _round(site: Site, buffer: str, what: str, scheme: FixedScheme, *, stochastic: bool) -> None:
    """Round what lies in a buffer, in place."""
    builder, storage = site.builder, scheme.storage
    elements = builder.elements(buffer)
    step = builder.buffer(builder.fresh(f"{buffer}.step"), (1,), dtype="fp64")
    narrow = builder.buffer(builder.fresh(f"{buffer}.narrow"), (elements, 1), dtype=storage)
    counts = builder.buffer(builder.fresh(f"{buffer}.saturated"), (1,), dtype="int32")
    site.launch(DynamicStep(elements, site.dtype, storage, scheme.headroom), x=buffer, step=step)
    arguments = {"x": buffer, "step": step, "q": narrow, "saturated": counts}
    if stochastic:
        name = builder.fresh(f"rounding:{site.name}:{what}")
        arguments["key"] = builder.buffer(name, (KEY_NUMBERS,), "input", dtype="fp64")
    kernel = Quantise(elements, 1, storage, site.dtype, "stochastic" if stochastic else "nearest")
    site.launch(kernel, **arguments)
    site.launch(Dequantise(elements, 1, storage, site.dtype), q=narrow, step=step, x=buffer)


def update_roundings(
    *, sizes: Sequence[int], kinds: int, sharers: int, dtype: DTypeName, scheme: FixedScheme
) -> tuple[Kernel, ...]:
    """What one core group launches around an update of its part of the parameters.

    Gradients, weights and ``kinds`` arrays of the optimiser's state come as integers and are made real numbers; weights
    and state go back as integers. With a master copy only the weights do. A step is found for every tensor of state.
    """
    part = -(-sum(sizes) // sharers)
    storage, rounding = scheme.storage, scheme.rounding
    back = [Quantise(part, 1, storage, dtype, rounding)]
    if scheme.master:
        return (Dequantise(part, 1, storage, dtype), *back)
    steps = [DynamicStep(-(-size // sharers), dtype, storage, scheme.headroom) for size in sizes] * kinds
    return (*[Dequantise(part, 1, storage, dtype)] * (2 + kinds), *steps, *back * (1 + kinds))
