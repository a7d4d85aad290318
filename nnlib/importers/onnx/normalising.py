"""Normalisation and pooling."""

from __future__ import annotations

from functools import partial

import numpy as np

from nnlib.importers.onnx.importer import Importer, attribute, rule
from nnlib.importers.onnx.products import window_pads
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported
from nnlib.layers.average_pooling import AveragePool, AveragePool1d
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.global_pooling import GlobalAveragePool, GlobalMaxPool
from nnlib.layers.group_normalisation import GroupNorm, LayerNorm, RMSNorm
from nnlib.layers.layer import Layer
from nnlib.layers.local_response import LocalResponseNorm
from nnlib.layers.max_pooling import MaxPool, MaxPool1d


@rule("BatchNormalization")
def batch_normalisation(importer: Importer, operator: Operator) -> None:
    x = importer.channels_last(operator, importer.tensor(operator))
    names = ("scale", "shift", "mean", "variance")
    weights = {name: importer.known(operator, number) for number, name in enumerate(names, start=1)}
    momentum = round(1.0 - attribute(operator, "momentum", 0.9), 9)
    epsilon = attribute(operator, "epsilon", 1e-5)
    y = importer.add(
        operator,
        lambda name: BatchNorm(name, epsilon=epsilon, momentum=momentum),
        x,
        like=x,
        weights=weights,
    )
    importer.set(operator, y)


@rule("LayerNormalization")
def layer_normalisation(importer: Importer, operator: Operator) -> None:
    x = importer.natural(operator, importer.tensor(operator))
    first = attribute(operator, "axis", -1) % x.rank
    axes = x.rank - first
    if x.batch_axis >= first:
        raise Unsupported(f"it normalises over the batch, axis {x.batch_axis} of {x.shape}")
    scale, shift = importer.known(operator, 1), importer.fixed(operator, 2)
    weights = {"scale": scale, "shift": shift or Fixed(np.zeros_like(scale.array))}
    epsilon = attribute(operator, "epsilon", 1e-5)
    y = importer.add(operator, lambda name: LayerNorm(name, axes=axes, epsilon=epsilon), x, like=x, weights=weights)
    importer.set(operator, y)


@rule("RMSNormalization")
def rms_normalisation(importer: Importer, operator: Operator) -> None:
    x = importer.natural(operator, importer.tensor(operator))
    first = attribute(operator, "axis", -1) % x.rank
    if x.batch_axis >= first:
        raise Unsupported(f"it normalises over the batch, axis {x.batch_axis} of {x.shape}")
    make = partial(RMSNorm, axes=x.rank - first, epsilon=attribute(operator, "epsilon", 1e-5))
    importer.set(operator, importer.add(operator, make, x, like=x, weights={"scale": importer.known(operator, 1)}))


@rule("InstanceNormalization", "GroupNormalization")
def group_normalisation(importer: Importer, operator: Operator) -> None:
    x = importer.channels_last(operator, importer.tensor(operator))
    channels = x.stored[-1]
    groups = attribute(operator, "num_groups", channels)
    weights = {"scale": importer.known(operator, 1), "shift": importer.known(operator, 2)}
    if any(each.array.shape != (channels,) for each in weights.values()):
        raise Unsupported("its scale is one for each group")
    epsilon = attribute(operator, "epsilon", 1e-5)
    y = importer.add(operator, lambda name: GroupNorm(name, groups, epsilon=epsilon), x, like=x, weights=weights)
    importer.set(operator, y)


@rule("LRN")
def local_response(importer: Importer, operator: Operator) -> None:
    x = importer.channels_last(operator, importer.tensor(operator))
    size = operator.attributes["size"]
    alpha, beta, k = (
        attribute(operator, key, value) for key, value in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    y = importer.add(
        operator, lambda name: LocalResponseNorm(name, size=size, alpha=alpha, beta=beta, k=k), x, order=x.order
    )
    importer.set(operator, y)


@rule("MaxPool", "AveragePool")
def pool(importer: Importer, operator: Operator) -> None:
    x = importer.channels_last(operator, importer.tensor(operator))
    kernel = tuple(operator.attributes["kernel_shape"])
    stride = tuple(attribute(operator, "strides", [1] * len(kernel)))
    dilation = tuple(attribute(operator, "dilations", [1] * len(kernel)))
    ceil = bool(attribute(operator, "ceil_mode", 0))
    top, bottom, left, right = window_pads(operator, x, kernel, stride, dilation)
    if len(operator.outputs) > 1 and operator.outputs[1] in importer.used:
        raise Unsupported("its second output, the places of the maxima, is wanted")

    def make(name: str) -> Layer:
        if len(kernel) == 1:
            if operator.type == "MaxPool":
                return MaxPool1d(name, kernel[0], stride[0], (top, bottom), ceil=ceil, dilation=dilation[0])
            counted = bool(attribute(operator, "count_include_pad", 0))
            return AveragePool1d(name, kernel[0], stride[0], (top, bottom), ceil=ceil, count_padding=counted)
        if operator.type == "MaxPool":
            return MaxPool(name, kernel, stride, (top, bottom, left, right), ceil=ceil, dilation=dilation)
        counted = bool(attribute(operator, "count_include_pad", 0))
        return AveragePool(name, kernel, stride, (top, bottom, left, right), ceil=ceil, count_padding=counted)

    if operator.type == "AveragePool" and set(dilation) != {1}:
        raise Unsupported(f"its dilation is {dilation}")
    importer.set(operator, importer.add(operator, make, x, like=x))


@rule("GlobalAveragePool", "GlobalMaxPool")
def global_pool(importer: Importer, operator: Operator) -> None:
    x = importer.channels_last(operator, importer.tensor(operator))
    kind = GlobalAveragePool if operator.type == "GlobalAveragePool" else GlobalMaxPool
    pooled: Tensor = importer.add(operator, kind, x, order=(0, 1))
    stored = (pooled.stored[0], *(1 for _ in range(x.rank - 2)), pooled.stored[1])
    importer.set(operator, importer.reshaped(operator, pooled, stored, x.order))
