"""Convolutions and matrix products."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from nnlib.importers.onnx.aligning import operand
from nnlib.importers.onnx.importer import Importer, attribute, rule
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported
from nnlib.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.layer import Layer
from nnlib.layers.linear import Linear
from nnlib.layers.matmul import MatMul
from nnlib.layers.scale import Scale

Pads = tuple[int, int, int, int]


@rule("Conv")
def conv(importer: Importer, operator: Operator) -> None:
    x = importer.channels_last(operator, importer.tensor(operator))
    weight, bias = importer.known(operator, 1), importer.fixed(operator, 2)
    axes = x.rank - 2
    if axes not in (1, 2) or weight.array.ndim != x.rank:
        raise Unsupported(f"its input has the shape {x.shape}, its weights {weight.array.shape}")
    kernel = weight.array.shape[2:]
    stride = tuple(attribute(operator, "strides", [1] * axes))
    dilation = tuple(attribute(operator, "dilations", [1] * axes))
    pads = window_pads(operator, x, kernel, stride, dilation)
    channels, groups = weight.array.shape[0], attribute(operator, "group", 1)

    def make(name: str) -> Layer:
        if axes == 1:
            return Conv1d(
                name, channels, kernel[0], stride[0], (pads[0], pads[1]), bias is not None, dilation[0], groups
            )
        return Conv2d(name, channels, kernel, stride, pads, bias is not None, dilation, groups)

    weights = {"weight": weight.transposed((*range(2, axes + 2), 1, 0))}
    y = importer.add(operator, make, x, like=x, weights=_with_bias(weights, bias))
    importer.set(operator, y)


@rule("ConvTranspose")
def conv_transpose(importer: Importer, operator: Operator) -> None:
    x = importer.channels_last(operator, importer.tensor(operator))
    weight, bias = importer.known(operator, 1), importer.fixed(operator, 2)
    axes = x.rank - 2
    if axes not in (1, 2) or weight.array.ndim != x.rank:
        raise Unsupported(f"its input has the shape {x.shape}, its weights {weight.array.shape}")
    kernel = weight.array.shape[2:]
    stride = tuple(attribute(operator, "strides", [1] * axes))
    dilation = tuple(attribute(operator, "dilations", [1] * axes))
    extra = tuple(attribute(operator, "output_padding", [0] * axes))
    if attribute(operator, "auto_pad", "NOTSET") != "NOTSET" or "output_shape" in operator.attributes:
        raise Unsupported("its padding follows from an output shape")
    pads = window_pads(operator, x, kernel, stride, dilation)
    groups = attribute(operator, "group", 1)
    channels = weight.array.shape[1] * groups
    bias_is = bias is not None

    def make(name: str) -> Layer:
        if axes == 1:
            return ConvTranspose1d(
                name, channels, kernel[0], stride[0], (pads[0], pads[1]), extra[0], bias_is, dilation[0], groups
            )
        return ConvTranspose2d(name, channels, kernel, stride, pads, extra, bias_is, dilation, groups)

    weights = {"weight": weight.transposed((*range(2, axes + 2), 0, 1))}
    y = importer.add(operator, make, x, like=x, weights=_with_bias(weights, bias))
    importer.set(operator, y)


@rule("Gemm")
def gemm(importer: Importer, operator: Operator) -> None:
    x, weight = importer.tensor(operator), importer.known(operator, 1)
    bias = importer.fixed(operator, 2)
    alpha, beta = attribute(operator, "alpha", 1.0), attribute(operator, "beta", 1.0)
    transposed = bool(attribute(operator, "transB", 0))
    x = x.permuted((1, 0)) if attribute(operator, "transA", 0) else x
    units = weight.array.shape[0 if transposed else 1]
    if bias is not None and bias.array.shape == (1, units):
        bias = bias.reshaped((units,))
    inside = bias is not None and bias.array.shape == (units,) and alpha == beta == 1
    y = _linear(importer, operator, x, weight, bias if inside else None, transposed=transposed)
    if alpha != 1:
        y = importer.add(operator, partial(Scale, factor=alpha), y, like=y, suffix="alpha")
    if bias is not None and not inside:
        scaled = bias if beta == 1 else Fixed(bias.array * bias.array.dtype.type(beta))
        if beta != 1 and bias.weight is not None:
            raise Unsupported(f"its beta is {beta:g}, and its third matrix is learned")
        y = operand(importer, operator, y, scaled, "add", first=False, suffix="bias")
    importer.set(operator, y)


@rule("MatMul")
def matmul(importer: Importer, operator: Operator) -> None:
    left, right = (importer.values[name] for name in operator.inputs)
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        importer.set(operator, _of_two(importer, operator, left, right))
    elif isinstance(left, Tensor) and isinstance(right, Fixed):
        importer.set(operator, _times_matrix(importer, operator, left, right))
    elif isinstance(left, Fixed) and isinstance(right, Tensor):
        swapped = (*range(right.rank - 2), right.rank - 1, right.rank - 2)
        ndim = left.array.ndim
        if ndim < 2 or right.rank < 2:
            raise Unsupported(f"it multiplies the shapes {left.array.shape} and {right.shape}")
        turned = left.transposed((*range(ndim - 2), ndim - 1, ndim - 2))
        y = _times_matrix(importer, operator, right.permuted(swapped), turned)
        importer.set(operator, y.permuted(swapped))


def _times_matrix(importer: Importer, operator: Operator, x: Tensor, right: Fixed) -> Tensor:
    """The last axis of ``x`` times a matrix, or a vector, of the file."""
    shape = right.array.shape
    if len(shape) == 1:
        y = _linear(importer, operator, x, right.reshaped((*shape, 1)), None, transposed=False)
        return importer.reshaped(operator, y, *y.squeezed({y.rank - 1}))
    if any(length != 1 for length in shape[:-2]) or len(shape) > x.rank:
        raise Unsupported(f"its second matrix has the shape {shape}")
    return _linear(importer, operator, x, right.reshaped(shape[-2:]), None, transposed=False)


def _of_two(importer: Importer, operator: Operator, left: Tensor, right: Tensor) -> Tensor:
    """Matrices of each sample; all axes but the last two are a stack."""
    shapes = f"stacks of the shapes {left.shape} and {right.shape}"
    rank = max(left.rank, right.rank)
    left, right = importer.widened(operator, left, rank), importer.widened(operator, right, rank)
    alike = left.counts == right.counts and left.batch_axis == right.batch_axis
    factors = left.factors_of(left.batch_axis)
    if not alike or left.batch_axis >= rank - 2 or any(left.factors[n] != right.factors[n] for n in factors):
        raise Unsupported(f"it multiplies {shapes}")
    (left, turned_left), (right, turned_right) = (_stacked(importer, operator, each) for each in (left, right))
    order = (left.order[0], *(factor for factor in range(len(left.order)) if factor != left.order[0]))
    make = partial(MatMul, transpose_a=turned_left, transpose_b=turned_right)
    return importer.add(operator, make, left, right, order=order, groups=left.groups)


def _stacked(importer: Importer, operator: Operator, x: Tensor) -> tuple[Tensor, bool]:
    """With the matrices' axes last, as they lie if nothing but them is turned round; and whether they are."""
    turned = (*range(x.rank - 2), x.rank - 1, x.rank - 2)
    other = x.permuted(turned)
    natural = (other.order[0], *(factor for factor in range(len(x.order)) if factor != other.order[0]))
    if other.order == natural and x.stored[-1] != 1 != x.stored[-2]:
        return x, True
    return importer.natural(operator, x), False


def _linear(
    importer: Importer, operator: Operator, x: Tensor, weight: Fixed, bias: Fixed | None, *, transposed: bool
) -> Tensor:
    """A fully connected layer; a weight that another layer has as it is here, stays as it is and is shared."""
    last = x.rank - 1
    if x.batch_axis == last or x.rank < 2 or weight.array.ndim != 2:
        raise Unsupported(f"it multiplies the shapes {x.shape} and {weight.array.shape}")
    factor = len(x.order) - 1
    if x.order[-1] != factor:
        x = importer.reordered(operator, x, (*(each for each in x.order if each != factor), factor))
    place = importer.places.get(weight.weight.name) if weight.weight is not None else None
    across = Fixed(weight.array, weight.weight).transposed((1, 0))
    if place is not None and weight.weight is not None:
        if place.axes != weight.weight.long_axes:
            weight, transposed = across, not transposed  # the embedding's table, seen from the other side
    elif transposed:
        weight, transposed = across, False
    features = weight.array.shape[0] if transposed else weight.array.shape[1]
    return importer.add(
        operator,
        lambda name: Linear(name, features, bias is not None, transposed),
        x,
        like=x,
        weights=_with_bias({"weight": weight}, bias),
    )


def window_pads(
    operator: Operator, x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Pads:
    """Padding (top, bottom, left, right); of sequences (before, after, 0, 0)."""
    axes = len(kernel)
    if axes not in (1, 2):
        raise Unsupported(f"its windows have {axes} axes")
    pads: list[Any] = list(attribute(operator, "pads", [0] * (2 * axes)))
    kind = attribute(operator, "auto_pad", "NOTSET")
    if kind in ("SAME_UPPER", "SAME_LOWER"):
        lengths = x.stored[1 : 1 + axes]
        for axis, (length, size, step, apart) in enumerate(zip(lengths, kernel, stride, dilation, strict=True)):
            total = max((-(-length // step) - 1) * step + apart * (size - 1) + 1 - length, 0)
            less, more = total // 2, total - total // 2
            pads[axis], pads[axis + axes] = (less, more) if kind == "SAME_UPPER" else (more, less)
    elif kind == "VALID":
        pads = [0] * (2 * axes)
    if axes == 1:
        return pads[0], pads[1], 0, 0
    return pads[0], pads[2], pads[1], pads[3]


def _with_bias(weights: dict[str, Fixed], bias: Fixed | None) -> dict[str, Fixed]:
    return weights if bias is None else {**weights, "bias": bias}


def scalar(fixed: Fixed) -> float:
    """The one number of an array. Raises Unsupported if there are more."""
    if fixed.array.size != 1:
        raise Unsupported(f"one number is wanted, there are {fixed.array.size}")
    return float(np.asarray(fixed.array).reshape(-1)[0])
