"""Passes of a convolution by the plan that is estimated fastest, with the transforms that its data order needs."""

from __future__ import annotations

from math import prod

from nnlib.kernels.arranging.layout import Transpose
from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.plans import Task
from nnlib.kernels.pointwise.broadcasting import Broadcast
from nnlib.layers.convolution import Conv2d
from nnlib.lowering.planner import Planned
from nnlib.lowering.products import add_bias
from nnlib.lowering.site import Site


def planned(site: Site, convolution: Convolution, which: Pass) -> Planned | None:
    """The plan, if it is not explicit products."""
    planner = site.choice.planner
    if planner is None or not site.choice.searches(which):
        return None
    found = planner.plan(Task(convolution=convolution, which=which, dtype=site.dtype, library="autotuned-2019"))
    return found if found.launches else None


def forward(plan: Planned, layer: Conv2d, site: Site) -> None:
    """The output, in the plan's layout."""
    x = site.input_as(plan.layout)
    out = site.buffer("unbiased", (site.batch, *site.out_shape)) if _adds(plan, layer) else site.output(plan.layout)
    _launch(plan, site, "forward", {"x": x, "weight": _weight(plan, site), "y": out})
    if not layer.bias:
        return
    pixels, channels = prod(site.out_shape[:-1]), site.out_shape[-1]
    if plan.layout == "channels-last":
        add_bias(site, out, rows=site.batch * pixels, channels=channels)
    else:
        kernel = Broadcast("add", (pixels, channels, site.batch), (1, channels, 1), site.dtype)
        site.launch(kernel, x=out, y=site.variable("bias"), z=site.output(plan.layout))


def by_weight(plan: Planned, site: Site, weight_gradient: str) -> None:
    """The gradient by the weights."""
    target = weight_gradient
    if plan.pixel_weights:
        target = site.buffer("turned_grad_weight", site.builder.shape(weight_gradient))
    arrays = {"grad_y": site.grad_output_as(plan.layout), "x": site.input_as(plan.layout), "grad_weight": target}
    _launch(plan, site, "weight_gradient", arrays)
    if plan.pixel_weights:
        *taps, ins, outs = site.builder.shape(weight_gradient)
        site.launch_transform(Transpose(prod(taps), outs, ins, site.dtype, "tensor_transform"), target, weight_gradient)


def by_images(plan: Planned, site: Site) -> None:
    """The gradient by the images, in the plan's layout."""
    grad, weight = site.grad_output_as(plan.layout), _weight(plan, site)
    grad_x = site.input_gradient(layout=plan.layout)
    _launch(plan, site, "input_gradient", {"grad_y": grad, "weight": weight, "grad_x": grad_x})
    site.contribute(grad_x)


def _adds(plan: Planned, layer: Conv2d) -> bool:
    """Whether a bias comes from one buffer into another."""
    return layer.bias and plan.layout != "channels-last"


def _weight(plan: Planned, site: Site) -> str:
    """The weights in the plan's order."""
    weight = site.variable("weight")
    if not plan.pixel_weights:
        return weight
    *taps, ins, outs = site.builder.shape(weight)
    turned = site.builder.buffer(site.builder.fresh(site.made("turned_weight")), site.builder.shape(weight))
    site.launch_transform(Transpose(prod(taps), ins, outs, site.dtype, "tensor_transform"), weight, turned)
    return turned


def _launch(plan: Planned, site: Site, which: Pass, arrays: dict[str, str]) -> None:
    """All launches; what lies between them has buffers of its own."""
    for launch in plan.launches:
        for parameter in launch.kernel.parameters():
            name = launch.arrays[parameter.name]
            if name not in arrays:
                fresh = site.builder.fresh(site.made(f"{which}.{name}"))
                arrays[name] = site.builder.buffer(fresh, parameter.shape)
        site.launch(launch.kernel, **{own: arrays[name] for own, name in launch.arrays.items()})
