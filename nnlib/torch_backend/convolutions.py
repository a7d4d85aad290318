"""Convolutions by PyTorch: images stay (B, H, W, C) in memory, its ``channels_last``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch.nn import functional

from nnlib.ops.conv_1d import row_padding
from nnlib.ops.reach import pair, sides
from nnlib.torch_backend.rules import Place, layer_rule, rectify
from nnlib.torch_backend.tensors import Tensor, channels_last, images


@layer_rule("Conv2d")
def conv2d(layer: Any, place: Place) -> Tensor:
    """Products of pixels alone are matrix products: the weights need no other order then."""
    weight, bias = place.params["weight"], place.params.get("bias")
    (top, bottom), (left, right) = sides(layer.padding)
    stride, dilation = pair(layer.stride), pair(layer.dilation)
    alone = tuple(weight.shape[:2]) == stride == (1, 1) and not (top or bottom or left or right)
    if alone and layer.groups == 1:
        return rectify(functional.linear(place.x, weight.flatten(0, 2).t(), bias), place)
    x = images(place.x)
    padding = (top, left)
    if (top, left) != (bottom, right):
        x, padding = functional.pad(x, (left, right, top, bottom)), (0, 0)
    # one transpose of a matrix brings the weights into the order channels_last
    kernel = weight.flatten(0, 2).t().contiguous().view(-1, *weight.shape[:3]).permute(0, 3, 1, 2)
    return channels_last(rectify(functional.conv2d(x, kernel, bias, stride, padding, dilation, layer.groups), place))


@layer_rule("Conv1d")
def conv1d(layer: Any, place: Place) -> Tensor:
    """As of images of one row."""
    weight, bias = place.params["weight"], place.params.get("bias")
    _, (before, behind) = sides(row_padding(layer.padding))
    x, padding = place.x.transpose(1, 2), before
    if before != behind:
        x, padding = functional.pad(x, (before, behind)), 0
    kernel = weight.permute(2, 1, 0)
    return functional.conv1d(x, kernel, bias, layer.stride, padding, layer.dilation, layer.groups).transpose(1, 2)


@layer_rule("ConvTranspose2d")
def conv_transpose2d(layer: Any, place: Place) -> Tensor:
    """Without padding first, out of which the pixels are cut."""
    weight, bias = place.params["weight"], place.params.get("bias")
    rows, columns, _ = layer.output_shape((tuple(place.x.shape[1:]),))
    (top, _), (left, _) = sides(layer.padding)
    kernel = weight.permute(2, 3, 0, 1)
    return _cut_transposed(layer, images(place.x), kernel, bias, (top, left), (rows, columns))


@layer_rule("ConvTranspose1d")
def conv_transpose1d(layer: Any, place: Place) -> Tensor:
    """As of images of one row."""
    weight, bias = place.params["weight"], place.params.get("bias")
    steps, _ = layer.output_shape((tuple(place.x.shape[1:]),))
    _, (before, _) = sides(row_padding(layer.padding))
    x, kernel = place.x.transpose(1, 2)[:, :, None], weight.permute(1, 2, 0)[:, :, None]
    row = replace(layer, stride=(1, layer.stride), dilation=(1, layer.dilation))
    return _cut_transposed(row, x, kernel, bias, (0, before), (1, steps))[:, 0]


def _cut_transposed(
    layer: Any, x: Tensor, kernel: Tensor, bias: Tensor | None, first: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """(B, H, W, C) of ``size`` pixels from the ``first`` on; where no input reaches there is the bias alone."""
    y = functional.conv_transpose2d(
        x, kernel, None, pair(layer.stride), dilation=pair(layer.dilation), groups=layer.groups
    )
    more = [max(0, at + length - there) for at, length, there in zip(first, size, y.shape[2:], strict=True)]
    if any(more):
        y = functional.pad(y, (0, more[1], 0, more[0]))
    y = channels_last(y[:, :, first[0] : first[0] + size[0], first[1] : first[1] + size[1]])
    return y if bias is None else y + bias
