"""Sums over axes of buffers: what reductions and the gradients of repeated inputs are lowered to."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from nnlib.kernels.pointwise.broadcasting import merge
from nnlib.kernels.reducing.axis_reduction import AxisFunction, AxisReduce
from nnlib.layers.layer import Shape
from nnlib.lowering.site import Site


def reduce_axes(
    site: Site, source: str, shape: Shape, target: Shape, *, function: AxisFunction, out: Callable[[], str], what: str
) -> str:
    """``source`` of ``shape`` reduced over the axes in which ``target`` is 1 long; the buffer that holds the result.

    ``out`` declares it; without anything to reduce it is ``source`` itself. ``what`` names the buffers between.
    """
    whole, (own,) = merge(shape, (target,))
    places = [axis for axis, (length, kept) in enumerate(zip(whole, own, strict=True)) if kept == 1 and length != 1]
    left = list(whole)
    for number, axis in enumerate(places):
        kernel = AxisReduce(function, prod(left[:axis]), left[axis], prod(left[axis + 1 :]), site.dtype)
        left[axis] = 1
        last = number == len(places) - 1
        result = out() if last else site.buffer(f"{what}{number}", tuple(left))
        site.launch(kernel, x=source, y=result)
        source = result
    return source
