"""Softmax lowered: along another axis than the last one the numbers are turned before and after."""

from __future__ import annotations

from math import prod

from nnlib.kernels.arranging.layout import Transpose
from nnlib.kernels.rows.row_softmax import RowSoftmax, RowSoftmaxGradient
from nnlib.layers.softmax import LogSoftmax, Softmax
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register(Softmax)
@lower_forward_of.register(LogSoftmax)
def _(layer: Softmax | LogSoftmax, site: Site) -> None:
    outer, length, inner = _sizes(layer, site)
    kernel = RowSoftmax(outer * inner, length, site.dtype, log=isinstance(layer, LogSoftmax))
    if inner == 1:
        site.launch(kernel, x=site.input, y=site.output())
        return
    x, y = (site.buffer(suffix, (outer, inner, length)) for suffix in ("turned_x", "turned_y"))
    site.launch(Transpose(outer, length, inner, site.dtype), x=site.input, y=x)
    site.launch(kernel, x=x, y=y)
    site.launch(Transpose(outer, inner, length, site.dtype), x=y, y=site.output())


@lower_backward_of.register(Softmax)
@lower_backward_of.register(LogSoftmax)
def _(layer: Softmax | LogSoftmax, site: Site) -> None:
    if not site.needs[0]:
        return
    outer, length, inner = _sizes(layer, site)
    kernel = RowSoftmaxGradient(outer * inner, length, site.dtype, log=isinstance(layer, LogSoftmax))
    grad = site.input_gradient()
    if inner == 1:
        site.launch(kernel, y=site.name, grad_y=site.grad_output, grad_x=grad)
    else:
        shape = (outer, inner, length)
        grad_y, grad_x = (site.buffer(suffix, shape) for suffix in ("turned_grad_y", "turned_grad_x"))
        site.launch(Transpose(outer, length, inner, site.dtype), x=site.grad_output, y=grad_y)
        site.launch(kernel, y=site.made("turned_y"), grad_y=grad_y, grad_x=grad_x)
        site.launch(Transpose(outer, inner, length, site.dtype), x=grad_x, y=grad)
    site.contribute(grad)


def _sizes(layer: Softmax | LogSoftmax, site: Site) -> tuple[int, int, int]:
    """Numbers before the axis, along it and behind it."""
    shape = site.out_shape
    axis = layer.axis % len(shape)
    return site.batch * prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
