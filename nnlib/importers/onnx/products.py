"""Convolutions and matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlib.importers.onnx.importer import Importer, attribute, rule
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported
from nnlib.layers import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Linear, MatMul
from nnlib.layers.layer import Layer

Pads = tuple[int, int, int, int]


@rule("Conv")
def conv(importer: Importer, operator: Operator) -> None:
    x = importer.channels_last(operator, importer.tensor(operator))
    weight, bias = importer.known(operator, 1), importer.fixed(operator, 2)
    axes = x.rank - 2
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
    y = importer.add(operator, make, x, order=x.order, weights=_with_bias(weights, bias))
    importer.set(operator, y)


@rule("ConvTranspose")
def conv_transpose(importer: Importer, operator: Operator) -> None:
    x = importer.channels_last(operator, importer.tensor(operator))
    weight, bias = importer.known(operator, 1), importer.fixed(operator, 2)
    axes = x.rank - 2
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
    y = importer.add(operator, make, x, order=x.order, weights=_with_bias(weights, bias))
    importer.set(operator, y)


@rule("Gemm")
def gemm(importer: Importer, operator: Operator) -> None:
    x, weight = importer.natural(operator, importer.tensor(operator)), importer.known(operator, 1)
    bias = importer.fixed(operator, 2)
    if attribute(operator, "transA", 0) or x.rank != 2:
        raise Unsupported("its first matrix is transposed")
    if attribute(operator, "alpha", 1.0) != 1.0 or (bias is not None and attribute(operator, "beta", 1.0) != 1.0):
        raise Unsupported("alpha and beta are not 1")
    if bias is not None and bias.array.ndim != 1:
        raise Unsupported(f"its third matrix has the shape {bias.array.shape}")
    importer.set(
        operator, _linear(importer, operator, x, weight, bias, transposed=bool(attribute(operator, "transB", 0)))
    )


@rule("MatMul")
def matmul(importer: Importer, operator: Operator) -> None:
    right = importer.values[operator.inputs[1]]
    x = importer.tensor(operator)
    if isinstance(right, Fixed):
        if right.array.ndim != 2:
            raise Unsupported(f"its second matrix has the shape {right.array.shape}")
        if x.order[-1] != x.rank - 1:
            x = importer.natural(operator, x)
        importer.set(operator, _linear(importer, operator, x, right, None, transposed=False))
        return
    left, right = importer.natural(operator, x), importer.natural(operator, right)
    if left.rank != right.rank or left.rank < 3 or left.batch_axis or right.batch_axis:
        raise Unsupported(f"it multiplies stacks of shapes {left.shape} and {right.shape}")
    importer.set(operator, importer.add(operator, MatMul, left, right, order=left.order))


def _linear(
    importer: Importer, operator: Operator, x: Tensor, weight: Fixed, bias: Fixed | None, *, transposed: bool
) -> Tensor:
    """A fully connected layer; a weight that another layer has as it is here, stays as it is and is shared."""
    known = weight.weight is not None and any(name == weight.weight.name for name, _, _ in importer.places)
    if weight.weight is not None and weight.weight.axes == (1, 0) and known:
        weight, transposed = weight.transposed((1, 0)), True  # the embedding's table, seen from the other side
    elif transposed and not known:
        weight, transposed = weight.transposed((1, 0)), False
    features = weight.array.shape[0] if transposed else weight.array.shape[1]
    return importer.add(
        operator,
        lambda name: Linear(name, features, bias is not None, transposed),
        x,
        order=x.order,
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
