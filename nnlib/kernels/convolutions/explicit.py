"""Explicit GEMM as a convolution plan: im2col, a matrix product, or a matrix product and col2im.

Channels last, the weights are (kr, kc, ni, no) as in the reference; channels first they are (no, ni, kr, kc), as in
Caffe. A group is a plane of each array there, and columns of the arrays where channels lie last. A kernel of one tap
that meets every pixel needs no columns: the images are what the product takes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nnlib.kernels.batched import Batched
from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.grouped import Grouped
from nnlib.kernels.convolutions.im2col import Col2im, Im2col, column_shape
from nnlib.kernels.generations import DEFAULT_LIBRARY, Library
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.launch import Launch
from nnlib.kernels.order import Order
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.window import Window
from nnlib.precision import DTypeName
from sim.chip.memory import Array


def explicit(
    convolution: Convolution,
    which: Pass,
    *,
    dtype: DTypeName,
    library: Library = DEFAULT_LIBRARY,
    order: Order = "channels-last",
) -> tuple[Launch, ...]:
    """The launches of a core group; arrays are named as the reference's, the columns ``cols`` and ``grad_cols``.

    ``library``: whose matrix product it is.
    """
    one = replace(convolution, ni=convolution.group_ni, no=convolution.group_no, groups=1)
    return _launches(one, which, dtype, library, order, groups=convolution.groups)


def weight_from_channels_last(order: Order, weight: Array) -> Array:
    """Weights (kr, kc, ni, no) as the plan takes them."""
    return weight if order == "channels-last" else np.ascontiguousarray(weight.transpose(3, 2, 0, 1))


def weight_to_channels_last(order: Order, weight: Array) -> Array:
    """The plan's weights as (kr, kc, ni, no)."""
    return weight if order == "channels-last" else weight.transpose(2, 3, 1, 0)


def window_of(convolution: Convolution) -> Window:
    """What im2col sees of a convolution of one group."""
    return Window(
        batch=convolution.batch,
        height=convolution.ri,
        width=convolution.ci,
        channels=convolution.ni,
        kernel=(convolution.kr, convolution.kc),
        stride=convolution.stride,
        padding=convolution.padding,
        dilation=convolution.dilation,
    )


def _launches(
    convolution: Convolution, which: Pass, dtype: DTypeName, library: Library, order: Order, *, groups: int
) -> tuple[Launch, ...]:
    """The launches over ``groups`` of a convolution of one group each: planes channels first, channels last columns."""
    window = window_of(convolution)
    product = replace(_product(convolution, which, dtype, order), library=library)
    one_tap = window.taps == 1 and window.stride == 1 and window.padding == 0
    # channels last a group's pixels are columns of the images, and no matrix by themselves
    one_tap = one_tap and (groups == 1 or order == "channels-first")

    def over_groups(kernel: Kernel, columns: str) -> Kernel:
        """``columns``: the argument that has the columns of im2col, a plane for each group in any order."""
        if groups == 1:
            return kernel
        if order == "channels-first":
            return Batched(kernel=kernel, total=groups)
        return Grouped(kernel=kernel, groups=groups, planes=(columns,))

    if which == "input_gradient":
        grad_cols = "grad_x" if one_tap else "grad_cols"
        names = {"a": "grad_y", "b": "weight"} if order == "channels-last" else {"a": "weight", "b": "grad_y"}
        multiply = Launch.of(over_groups(product, "c"), **names, c=grad_cols)
        add = Launch.of(over_groups(Col2im(window, dtype, order), "cols"), cols=grad_cols, x="grad_x")
        return (multiply,) if one_tap else (multiply, add)
    cols = "x" if one_tap else "cols"
    names = {"a": cols, "b": "weight", "c": "y"}
    if which == "weight_gradient":
        names = {"a": cols, "b": "grad_y", "c": "grad_weight"}
    if order == "channels-first":
        names["a"], names["b"] = names["b"], names["a"]
    gather = Launch.of(over_groups(Im2col(window, dtype, order), "cols"), x="x", cols=cols)
    multiply = Launch.of(over_groups(product, "a"), **names)
    return (multiply,) if one_tap else (gather, multiply)


def _product(convolution: Convolution, which: Pass, dtype: DTypeName, order: Order) -> Gemm:
    """The matrix product of a pass; channels first all its matrices are transposed."""
    no = convolution.no
    pixels, depth = column_shape(window_of(convolution), "channels-last")
    match which:
        case "forward":
            product = Gemm(m=pixels, n=no, k=depth, dtype=dtype)
        case "input_gradient":
            product = Gemm(m=pixels, n=depth, k=no, dtype=dtype, transpose_b=True)
        case "weight_gradient":
            product = Gemm(m=depth, n=no, k=pixels, dtype=dtype, transpose_a=True)
    if order == "channels-last":
        return product
    return replace(product, m=product.n, n=product.m, transpose_a=product.transpose_b, transpose_b=product.transpose_a)
