"""Operations by name: which kernels a core group launches for one, from sizes as a user gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from nnlib.kernels.elementwise import BiasAdd, Elementwise, Function, SumCopies
from nnlib.kernels.gemm import Gemm
from nnlib.kernels.im2col import Col2im, Im2col
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pooling import MaxPool, MaxPoolGradient
from nnlib.kernels.reduction import ColumnSum
from nnlib.kernels.softmax import SoftmaxCrossEntropy
from nnlib.kernels.window import Window
from nnlib.precision import DTypeName

Sizes: TypeAlias = Mapping[str, int]

CONVOLUTION: Final = {
    "batch": "images",
    "ni": "input channels",
    "no": "output channels",
    "ro": "output rows",
    "co": "output columns",
    "k": "rows and columns of the window",
}
WINDOW_DEFAULTS: Final = {"stride": 1, "padding": 0}


@dataclass(frozen=True)
class Part:
    """One launch: its kernel, and the array behind each of the kernel's parameters."""

    kernel: Kernel
    arrays: Mapping[str, str]


@dataclass(frozen=True)
class Operation:
    """``needs``: sizes that have to be given and what they mean; ``divided``: the one that core groups share out.

    ``build`` gives a core group's launches. ``flops``: useful floating-point operations, None where they do not count.
    """

    needs: Mapping[str, str]
    divided: str
    build: Callable[[Sizes, DTypeName], tuple[Part, ...]]
    flops: Callable[[Sizes], int] | None = None
    defaults: Mapping[str, int] = field(default_factory=dict)
    plan: str = "streaming"


def _single(kernel: Kernel) -> tuple[Part, ...]:
    """One launch whose arrays are called as its parameters are."""
    return (Part(kernel, {parameter.name: parameter.name for parameter in kernel.parameters()}),)


def _window(sizes: Sizes, *, channels: str) -> Window:
    """The window over images of which ``ro`` × ``co`` output pixels remain."""
    k, stride, padding = sizes["k"], sizes["stride"], sizes["padding"]
    height, width = ((sizes[name] - 1) * stride + k - 2 * padding for name in ("ro", "co"))
    return Window(sizes["batch"], height, width, sizes[channels], (k, k), stride, padding)


def _gemm(sizes: Sizes, dtype: DTypeName) -> tuple[Part, ...]:
    return _single(Gemm(m=sizes["m"], n=sizes["n"], k=sizes["k"], dtype=dtype))


def _convolution(sizes: Sizes, dtype: DTypeName) -> tuple[Part, ...]:
    window = _window(sizes, channels="ni")
    rows, depth = _matrix(window)
    product = Gemm(m=rows, n=sizes["no"], k=depth, dtype=dtype)
    return (
        Part(Im2col(window, dtype), {"x": "x", "cols": "cols"}),
        Part(product, {"a": "cols", "b": "weight", "c": "y"}),
    )


def _input_gradient(sizes: Sizes, dtype: DTypeName) -> tuple[Part, ...]:
    window = _window(sizes, channels="ni")
    rows, depth = _matrix(window)
    product = Gemm(m=rows, n=depth, k=sizes["no"], dtype=dtype, transpose_b=True)
    return (
        Part(product, {"a": "grad_y", "b": "weight", "c": "grad_cols"}),
        Part(Col2im(window, dtype), {"cols": "grad_cols", "x": "grad_x"}),
    )


def _weight_gradient(sizes: Sizes, dtype: DTypeName) -> tuple[Part, ...]:
    window = _window(sizes, channels="ni")
    rows, depth = _matrix(window)
    product = Gemm(m=depth, n=sizes["no"], k=rows, dtype=dtype, transpose_a=True)
    return (
        Part(Im2col(window, dtype), {"x": "x", "cols": "cols"}),
        Part(product, {"a": "cols", "b": "grad_y", "c": "grad_weight"}),
    )


def _matrix(window: Window) -> tuple[int, int]:
    """Rows and columns of the patches as a matrix."""
    return window.batch * window.out_height * window.out_width, window.taps * window.channels


def _convolution_flops(sizes: Sizes) -> int:
    pixels = sizes["batch"] * sizes["ro"] * sizes["co"]
    return 2 * pixels * sizes["ni"] * sizes["no"] * sizes["k"] ** 2


def _elementwise(function: Function) -> Operation:
    return Operation(
        {"elements": "numbers"},
        "elements",
        lambda sizes, dtype: _single(Elementwise(function, sizes["elements"], dtype)),
    )


POOLING: Final = {
    "batch": "images",
    "ni": "channels",
    "ro": "output rows",
    "co": "output columns",
    "k": "rows and columns of the window",
}
MATRIX: Final = {"rows": "rows", "columns": "columns"}

OPERATIONS: Final[Mapping[str, Operation]] = {
    "gemm": Operation(
        {"m": "rows of a and c", "n": "columns of b and c", "k": "columns of a, rows of b"},
        "m",
        _gemm,
        lambda sizes: 2 * sizes["m"] * sizes["n"] * sizes["k"],
        plan="mesh gemm",
    ),
    "conv2d": Operation(CONVOLUTION, "batch", _convolution, _convolution_flops, WINDOW_DEFAULTS, "explicit gemm"),
    "conv2d_input_gradient": Operation(
        CONVOLUTION, "batch", _input_gradient, _convolution_flops, WINDOW_DEFAULTS, "explicit gemm"
    ),
    "conv2d_weight_gradient": Operation(
        CONVOLUTION, "batch", _weight_gradient, _convolution_flops, WINDOW_DEFAULTS, "explicit gemm"
    ),
    "im2col": Operation(
        POOLING,
        "batch",
        lambda sizes, dtype: _single(Im2col(_window(sizes, channels="ni"), dtype)),
        defaults=WINDOW_DEFAULTS,
    ),
    "col2im": Operation(
        POOLING,
        "batch",
        lambda sizes, dtype: _single(Col2im(_window(sizes, channels="ni"), dtype)),
        defaults=WINDOW_DEFAULTS,
    ),
    "max_pool": Operation(
        POOLING,
        "batch",
        lambda sizes, dtype: _single(MaxPool(_window({**sizes, "padding": 0}, channels="ni"), dtype)),
        defaults={"stride": 2},
    ),
    "max_pool_gradient": Operation(
        POOLING,
        "batch",
        lambda sizes, dtype: _single(MaxPoolGradient(_window({**sizes, "padding": 0}, channels="ni"), dtype)),
        defaults={"stride": 2},
    ),
    "bias_add": Operation(
        MATRIX, "rows", lambda sizes, dtype: _single(BiasAdd(sizes["rows"], sizes["columns"], dtype))
    ),
    "column_sum": Operation(
        MATRIX, "rows", lambda sizes, dtype: _single(ColumnSum(sizes["rows"], sizes["columns"], dtype))
    ),
    "softmax_cross_entropy": Operation(
        {"rows": "samples", "columns": "classes"},
        "rows",
        lambda sizes, dtype: _single(SoftmaxCrossEntropy(sizes["rows"], sizes["columns"], dtype)),
    ),
    "sum_copies": Operation(
        {"count": "copies", "elements": "numbers of each"},
        "elements",
        lambda sizes, dtype: _single(SumCopies(sizes["count"], sizes["elements"], dtype)),
    ),
    "relu": _elementwise("relu"),
    "relu_gradient": _elementwise("relu_gradient"),
    "sgd": _elementwise("sgd"),
    "nesterov": _elementwise("nesterov"),
    "lars": _elementwise("lars"),
    "adam": _elementwise("adam"),
}
"""What ``taihusim kernel`` knows."""
