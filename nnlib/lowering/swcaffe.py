"""Layers as swCaffe ran them: convolutions and products in its ways, images in Caffe's order, some of it on the MPE."""

from __future__ import annotations

from math import prod

from nnlib.kernels.chained import Stage
from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.normalisation.batch_normalisation import BatchStatistics
from nnlib.kernels.normalisation.batch_normalisation_gradient import BatchNormalisationGradient, NormalisationSums
from nnlib.kernels.normalisation.scale_shift import FoldStatistics, ScaleShift
from nnlib.kernels.pointwise.dropout import Dropout as DropoutKernel
from nnlib.kernels.reducing.axis_reduction import AxisReduce
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.kernels.swcaffe import costs
from nnlib.kernels.swcaffe.explicit import ExplicitPass
from nnlib.kernels.swcaffe.on_mpe import Clear, OnMpe
from nnlib.kernels.swcaffe.products import Products, Version
from nnlib.kernels.swcaffe.shared import Shared
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.convolution import Conv2d
from nnlib.layers.linear import Linear
from nnlib.lowering.site import IMAGE_AXES, Site
from nnlib.ops.reach import pair, sides


def convolution_of(layer: Conv2d, site: Site) -> Convolution | None:
    """What swCaffe does explicitly; None for a convolution that it did not have."""
    height, width, channels = site.in_shape
    (stride, *strides), padding = {*pair(layer.stride)}, {each for side in sides(layer.padding) for each in side}
    depthwise = layer.groups == channels == layer.out_channels
    if strides or len(padding) > 1 or pair(layer.dilation) != (1, 1) or depthwise:
        return None
    return Convolution(
        batch=site.batch,
        ni=channels,
        no=layer.out_channels,
        ri=height,
        ci=width,
        kr=layer.kernel[0],
        kc=layer.kernel[1],
        stride=stride,
        padding=padding.pop(),
        groups=layer.groups,
    )


def convolution_forward(version: Version, convolution: Convolution, layer: Conv2d, site: Site) -> None:
    """The explicit pass."""
    explicit = _pass(version, convolution, "forward", site, bias=layer.bias)
    arrays = {"x": site.input_as("planar"), "weight": site.variable("weight"), "y": site.output("planar")}
    if layer.bias:
        arrays |= {"bias": site.variable("bias"), "ones": _ones(site, explicit.columns)}
    _launch(explicit, site, arrays)


def convolution_backward(version: Version, convolution: Convolution, layer: Conv2d, site: Site) -> None:
    """Weights, which start from zero, then the bias, then the images."""
    grad, weight_gradient = site.grad_output_as("planar"), site.parameter_gradient("weight")
    site.launch(Clear(elements=site.builder.elements(weight_gradient), dtype=site.dtype), x=weight_gradient)
    by_weight = _pass(version, convolution, "weight_gradient", site)
    _launch(by_weight, site, {"x": site.input_as("planar"), "grad_y": grad, "grad_weight": weight_gradient})
    if layer.bias:
        _bias_gradient(convolution, site, grad)
    if site.needs[0]:
        grad_x = site.input_gradient(layout="planar")
        by_images = _pass(version, convolution, "input_gradient", site)
        _launch(by_images, site, {"grad_y": grad, "weight": site.variable("weight"), "grad_x": grad_x})
        site.contribute(grad_x)


def _pass(version: Version, convolution: Convolution, which: Pass, site: Site, *, bias: bool = False) -> ExplicitPass:
    return ExplicitPass(convolution=convolution, which=which, products=Products(version, site.dtype), bias=bias)


def _launch(explicit: ExplicitPass, site: Site, arrays: dict[str, str]) -> None:
    kernel = explicit.kernel()
    for parameter in kernel.parameters():
        if parameter.name not in arrays:
            suffix = site.builder.fresh(site.made(f"{explicit.which}.{parameter.name}"))
            arrays[parameter.name] = site.builder.buffer(suffix, parameter.shape)
    site.launch(kernel, **arrays)


def _ones(site: Site, count: int) -> str:
    """A buffer of so many ones."""
    name = f"ones:{count}"
    return name if name in site.builder.shapes else site.builder.buffer(name, (count,), "input")


def _bias_gradient(convolution: Convolution, site: Site, grad: str) -> None:
    """Sums over pixels, then over images."""
    batch, channels = convolution.batch, convolution.no
    sums = site.buffer("bias_sums", (batch, channels))
    site.launch(AxisReduce("sum", batch * channels, convolution.ro * convolution.co, 1, site.dtype), x=grad, y=sums)
    site.launch(ColumnSum(batch, channels, site.dtype), x=sums, total=site.parameter_gradient("bias"))


def linear_forward(version: Version, layer: Linear, site: Site) -> None:
    """A product, and the bias by another."""
    rows, ins, outs = _vectors(layer, site)
    out = site.output()
    product = _shared(version, site, m=rows, n=outs, k=ins, divided="n", transpose_b=layer.transposed)
    site.launch(product, a=site.input, b=site.variable("weight"), c=out)
    if layer.bias:
        bias = _shared(version, site, m=rows, n=outs, k=1, divided="n", accumulate=True)
        site.launch(bias, a=_ones(site, rows), b=site.variable("bias"), c=out)


def linear_backward(version: Version, layer: Linear, site: Site) -> None:
    """Weights, bias and vectors."""
    rows, ins, outs = _vectors(layer, site)
    grad, weight_gradient = site.grad_output, site.parameter_gradient("weight")
    if layer.transposed:
        by_weight = _shared(version, site, m=outs, n=ins, k=rows, divided="m", transpose_a=True)
        site.launch(by_weight, a=grad, b=site.input, c=weight_gradient)
    else:
        by_weight = _shared(version, site, m=ins, n=outs, k=rows, divided="n", transpose_a=True)
        site.launch(by_weight, a=site.input, b=grad, c=weight_gradient)
    if layer.bias:
        site.launch(ColumnSum(rows, outs, site.dtype), x=grad, total=site.parameter_gradient("bias"))
    if site.needs[0]:
        grad_x = site.input_gradient()
        by_x = _shared(version, site, m=rows, n=ins, k=outs, divided="n", transpose_b=not layer.transposed)
        site.launch(by_x, a=grad, b=site.variable("weight"), c=grad_x)
        site.contribute(grad_x)


def _vectors(layer: Linear, site: Site) -> tuple[int, int, int]:
    return site.elements(site.in_shape[:-1]), site.in_shape[-1], layer.out_features


def _shared(
    version: Version,
    site: Site,
    *,
    m: int,
    n: int,
    k: int,
    divided: str,
    transpose_a: bool = False,
    transpose_b: bool = False,
    accumulate: bool = False,
) -> Kernel:
    """A product of this core group's vectors; of that of all core groups' each does a part of the columns or rows."""
    gemm, groups = Products(version, site.dtype).gemm, site.choice.core_groups
    kernel = gemm(m, n, k, transpose_a=transpose_a, transpose_b=transpose_b, accumulate=accumulate)
    if groups == 1:
        return kernel
    rows = site.elements(site.in_shape[:-1])
    m, n, k = (each * groups if each == rows and axis == _batch_axis(divided, transpose_a) else each
               for axis, each in (("m", m), ("n", n), ("k", k)))  # fmt: skip
    m, n = (-(-each // groups) if axis == divided else each for axis, each in (("m", m), ("n", n)))
    share = gemm(m, n, k, transpose_a=transpose_a, transpose_b=transpose_b, accumulate=accumulate)
    return Shared(kernel=kernel, share=share)


def _batch_axis(divided: str, transpose_a: bool) -> str:
    """Which length counts vectors: the weights' gradient sums over them."""
    return "k" if transpose_a else "m"


def normalisation_forward(layer: BatchNorm, site: Site) -> bool:
    """Statistics and result on the MPE. False where the layer is not one of images."""
    if len(site.in_shape) != IMAGE_AXES:
        return False
    rows, channels = site.elements(site.in_shape[:-1]), site.in_shape[-1]
    made = {name: site.buffer(f"batch_{name}", (channels,)) for name in ("inverse_deviation", "scale", "shift")}
    arrays = dict(made)
    if layer.affine:
        arrays |= {"gamma": site.variable("scale"), "beta": site.variable("shift")}
    stages = []
    fold = FoldStatistics(channels, site.dtype, layer.epsilon, layer.affine)
    if site.training:
        arrays |= {name: site.buffer(f"batch_{name}", (channels,)) for name in ("mean", "variance")}
        stages.append(BatchStatistics(rows, channels, site.dtype))
        fold = FoldStatistics(channels, site.dtype, layer.epsilon, layer.affine, layer.momentum, rows)
        for name in ("mean", "variance"):
            arrays |= {f"running_{name}": site.variable(name), f"new_{name}": site.new_statistic(name)}
    else:
        arrays |= {name: site.variable(name) for name in ("mean", "variance")}
    cycles, plane = costs.SCALE_CYCLES, 0.0
    if site.training:
        cycles, plane = costs.NORMALISE_CYCLES, costs.NORMALISE_PLANE_CYCLES
    kernel = _on_mpe(
        "batch_normalisation_on_mpe",
        [*stages, fold, ScaleShift(rows, channels, site.dtype)],
        site,
        cycles=cycles,
        plane_cycles=plane,
        images=("x", "y"),
    )
    site.launch(kernel, x=site.input_as("planar"), y=site.output("planar"), **arrays)
    return True


def normalisation_backward(layer: BatchNorm, site: Site) -> bool:
    """Sums and gradient on the MPE. False where the layer is not one of images."""
    if len(site.in_shape) != IMAGE_AXES:
        return False
    rows, channels = site.elements(site.in_shape[:-1]), site.in_shape[-1]
    arrays = {name: site.made(f"batch_{name}") for name in ("mean", "inverse_deviation")}
    if layer.affine:
        arrays |= {"grad_gamma": site.parameter_gradient("scale"), "grad_beta": site.parameter_gradient("shift")}
    else:
        arrays |= {name: site.buffer(name, (channels,)) for name in ("grad_gamma", "grad_beta")}
    stages: list[Kernel] = [NormalisationSums(rows, channels, site.dtype)]
    images = ["grad_y", "x"]
    if site.needs[0]:
        stages.append(BatchNormalisationGradient(rows, channels, site.dtype, layer.affine))
        images.append("grad_x")
        arrays["grad_x"] = site.input_gradient(layout="planar")
        if layer.affine:
            arrays["gamma"] = site.variable("scale")
    kernel = _on_mpe(
        "batch_normalisation_gradient_on_mpe",
        stages,
        site,
        cycles=costs.NORMALISE_BACK_CYCLES,
        plane_cycles=costs.NORMALISE_BACK_PLANE_CYCLES,
        images=tuple(images),
    )
    site.launch(kernel, grad_y=site.grad_output_as("planar"), x=site.input_as("planar"), **arrays)
    if site.needs[0]:
        site.contribute(arrays["grad_x"])
    return True


def dropout(kernel: DropoutKernel, *, forward: bool) -> OnMpe:
    """The same numbers on the MPE."""
    return OnMpe(
        label="dropout_on_mpe",
        stages=(Stage.of(kernel, x="x", hyper="hyper", y="y"),),
        elements=kernel.samples * kernel.elements,
        cycles=costs.DROPOUT_CYCLES if forward else costs.DROPOUT_BACK_CYCLES,
    )


def _on_mpe(
    label: str, kernels: list[Kernel], site: Site, *, cycles: float, plane_cycles: float, images: tuple[str, ...]
) -> OnMpe:
    pixels, channels = prod(site.in_shape[:-1]), site.in_shape[-1]
    return OnMpe(
        label=label,
        stages=tuple(Stage.of(each, **{one.name: one.name for one in each.parameters()}) for each in kernels),
        elements=site.batch * pixels * channels,
        cycles=cycles,
        planes=site.batch * channels,
        plane_cycles=plane_cycles,
        planar=tuple((name, (site.batch, pixels, channels)) for name in images),
    )
