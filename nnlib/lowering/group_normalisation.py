"""Normalisation within a sample lowered."""

from __future__ import annotations

from nnlib.kernels.normalisation.batch_normalisation_gradient import NormalisationSums
from nnlib.kernels.normalisation.group_normalisation import GroupNormalisation, GroupShape
from nnlib.kernels.normalisation.group_normalisation_gradient import GroupNormalisationGradient
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.layers.group_normalisation import GroupNorm, LayerNorm, RMSNorm
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of
from sim.chip.memory import Shape


@lower_forward_of.register(LayerNorm)
@lower_forward_of.register(RMSNorm)
@lower_forward_of.register(GroupNorm)
def _(layer: LayerNorm | RMSNorm | GroupNorm, site: Site) -> None:
    shape = _groups(layer, site)
    arguments = {name: site.buffer(name, (shape.batch, shape.groups)) for name in shape.statistics}
    parameters = {"gamma": "scale", "beta": "shift"}
    arguments |= {name: site.variable(parameters[name]) for name in shape.vectors}
    kernel = GroupNormalisation(shape, site.dtype, layer.epsilon)
    site.launch(kernel, x=site.input, **arguments, y=site.output())


@lower_backward_of.register(LayerNorm)
@lower_backward_of.register(RMSNorm)
@lower_backward_of.register(GroupNorm)
def _(layer: LayerNorm | RMSNorm | GroupNorm, site: Site) -> None:
    shape = _groups(layer, site)
    arrays = {"grad_y": site.grad_output, "x": site.input}
    statistics = {name: site.made(name) for name in shape.statistics}
    totals = {"grad_gamma": "scale", "grad_beta": "shift"} if shape.centred else {"grad_gamma": "scale"}
    by_rows = shape.pixels == shape.groups == 1
    parts: dict[str, str] = {}
    if shape.affine and not by_rows:
        names = [name.replace("grad", "sample") for name in totals]
        parts = {name: site.buffer(name, (shape.batch, shape.channels)) for name in names}
    if site.needs[0] or parts:
        grad = site.input_gradient()
        gamma = {"gamma": site.variable("scale")} if shape.affine else {}
        kernel = GroupNormalisationGradient(shape, site.dtype, sums=bool(parts))
        site.launch(kernel, **arrays, **statistics, **gamma, **parts, grad_x=grad)
        if site.needs[0]:
            site.contribute(grad)
    if not shape.affine:
        return
    sums = {name: site.parameter_gradient(parameter) for name, parameter in totals.items()}
    if by_rows:
        kernel_of_sums = NormalisationSums(shape.batch, shape.channels, site.dtype, "row", shape.centred)
        site.launch(kernel_of_sums, **arrays, **statistics, **sums)
        return
    for part, total in zip(parts.values(), sums.values(), strict=True):
        site.launch(ColumnSum(shape.batch, shape.channels, site.dtype), x=part, total=total)


def _groups(layer: LayerNorm | RMSNorm | GroupNorm, site: Site) -> GroupShape:
    """What is normalised together; rows are samples of one pixel."""
    shape = site.in_shape
    if isinstance(layer, GroupNorm):
        return GroupShape(
            batch=site.batch,
            pixels=_product(shape[:-1]),
            channels=shape[-1],
            groups=layer.groups,
            affine=layer.affine,
        )
    outer = len(shape) - layer.axes
    return GroupShape(
        batch=site.elements(shape[:outer]),
        pixels=1,
        channels=_product(shape[outer:]),
        affine=layer.affine,
        centred=isinstance(layer, LayerNorm),
    )


def _product(shape: Shape) -> int:
    total = 1
    for length in shape:
        total *= length
    return total
