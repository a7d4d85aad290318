"""Normalisation lowered."""

from __future__ import annotations

from nnlib.kernels.normalisation.batch_normalisation import BatchStatistics
from nnlib.kernels.normalisation.batch_normalisation_gradient import BatchNormalisationGradient, NormalisationSums
from nnlib.kernels.normalisation.group_normalisation import GroupNormalisation, GroupShape
from nnlib.kernels.normalisation.group_normalisation_gradient import GroupNormalisationGradient
from nnlib.kernels.normalisation.local_response import (
    LocalResponseNormalisation,
    LocalResponseNormalisationGradient,
    ResponseWindow,
)
from nnlib.kernels.normalisation.scale_shift import FoldStatistics, ScaleShift
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.layers.normalisation import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm, RMSNorm
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.parts import Part
from sim.chip.memory import Shape


@part_of.register
def _(layer: BatchNorm) -> Part:
    return "bn"


@lower_forward_of.register
def _(layer: BatchNorm, site: Site) -> None:
    if site.choice.swcaffe is not None:
        from nnlib.lowering import swcaffe

        if swcaffe.normalisation_forward(layer, site):
            return
    rows, channels = _matrix(site)
    made = {name: site.buffer(f"batch_{name}", (channels,)) for name in ("inverse_deviation", "scale", "shift")}
    arguments = dict(made)
    if layer.affine:
        arguments |= {"gamma": site.variable("scale"), "beta": site.variable("shift")}
    fold = FoldStatistics(channels, site.dtype, layer.epsilon, layer.affine)
    if site.training:
        of_batch = {name: site.buffer(f"batch_{name}", (channels,)) for name in ("mean", "variance")}
        site.launch(BatchStatistics(rows, channels, site.dtype), x=site.input, **of_batch)
        fold = FoldStatistics(channels, site.dtype, layer.epsilon, layer.affine, layer.momentum, rows)
        for name, buffer in of_batch.items():
            arguments |= {
                name: buffer,
                f"running_{name}": site.variable(name),
                f"new_{name}": site.new_statistic(name),
            }
    else:
        arguments |= {name: site.variable(name) for name in ("mean", "variance")}
    site.launch(fold, **arguments)
    kernel = ScaleShift(rows, channels, site.dtype)
    site.launch(kernel, x=site.input, scale=made["scale"], shift=made["shift"], y=site.output())


@lower_backward_of.register
def _(layer: BatchNorm, site: Site) -> None:
    if site.choice.swcaffe is not None:
        from nnlib.lowering import swcaffe

        if swcaffe.normalisation_backward(layer, site):
            return
    rows, channels = _matrix(site)
    statistics = {name: site.made(f"batch_{name}") for name in ("mean", "inverse_deviation")}
    if layer.affine:
        sums = {"grad_gamma": site.parameter_gradient("scale"), "grad_beta": site.parameter_gradient("shift")}
    else:
        sums = {name: site.buffer(name, (channels,)) for name in ("grad_gamma", "grad_beta")}
    arrays = {"grad_y": site.grad_output, "x": site.input, **statistics, **sums}
    site.launch(NormalisationSums(rows, channels, site.dtype), **arrays)
    if site.needs[0]:
        grad = site.input_gradient()
        if layer.affine:
            arrays["gamma"] = site.variable("scale")
        kernel = BatchNormalisationGradient(rows, channels, site.dtype, layer.affine)
        site.launch(kernel, **arrays, grad_x=grad)
        site.contribute(grad)


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


@lower_forward_of.register
def _(layer: LocalResponseNorm, site: Site) -> None:
    rows, channels = _matrix(site)
    kernel = LocalResponseNormalisation(rows, channels, _window(layer), site.dtype)
    site.launch(kernel, x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: LocalResponseNorm, site: Site) -> None:
    if not site.needs[0]:
        return
    rows, channels = _matrix(site)
    grad = site.input_gradient()
    kernel = LocalResponseNormalisationGradient(rows, channels, _window(layer), site.dtype)
    site.launch(kernel, grad_y=site.grad_output, x=site.input, grad_x=grad)
    site.contribute(grad)


def _window(layer: LocalResponseNorm) -> ResponseWindow:
    return ResponseWindow(size=layer.size, alpha=layer.alpha, beta=layer.beta, k=layer.k)


def _matrix(site: Site) -> tuple[int, int]:
    """Rows and channels of a whole batch."""
    return site.elements(site.in_shape[:-1]), site.in_shape[-1]


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
