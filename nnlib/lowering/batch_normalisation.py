"""Normalisation over the batch lowered."""

from __future__ import annotations

from nnlib.kernels.normalisation.batch_normalisation import BatchStatistics
from nnlib.kernels.normalisation.batch_normalisation_gradient import BatchNormalisationGradient, NormalisationSums
from nnlib.kernels.normalisation.scale_shift import FoldStatistics, ScaleShift
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.parts import Part


@part_of.register
def _(layer: BatchNorm) -> Part:
    return "bn"


@lower_forward_of.register
def _(layer: BatchNorm, site: Site) -> None:
    if site.choice.swcaffe is not None:
        from nnlib.lowering import swcaffe

        if swcaffe.normalisation_forward(layer, site):
            return
    rows, channels = site.elements(site.in_shape[:-1]), site.in_shape[-1]
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
    rows, channels = site.elements(site.in_shape[:-1]), site.in_shape[-1]
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
