"""Operations by name: which kernels a core group launches for one, from sizes as a user gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

from nnlib.kernels.arranging import arrangement_builds
from nnlib.kernels.attention.attention import Attention, AttentionKeyValueGradient, AttentionQueryGradient
from nnlib.kernels.attention.attention_shape import AttentionShape
from nnlib.kernels.batched import Batched
from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.im2col import Col2im, Im2col
from nnlib.kernels.generations import Library
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.launch import Launch
from nnlib.kernels.normalisation.normalisation_builds import NORMALISATIONS
from nnlib.kernels.pointwise.elementwise import BiasAdd, Elementwise, Function, SumCopies
from nnlib.kernels.pointwise.functions.table import FUNCTIONS
from nnlib.kernels.pointwise.prelu import Prelu, PreluGradient
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.products.integer_gemm import IntegerGemm
from nnlib.kernels.products.stacked_gemm import StackedGemm
from nnlib.kernels.reducing.pooling import MaxPool, MaxPoolGradient
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.kernels.rows.dice import DiceGradient, DiceSums
from nnlib.kernels.rows.row_loss import LOSSES, LossFunction, RowLoss
from nnlib.kernels.rows.row_softmax import RowSoftmax, RowSoftmaxGradient
from nnlib.kernels.rows.softmax import SoftmaxCrossEntropy
from nnlib.kernels.sequences import sequence_builds
from nnlib.kernels.sequences.recurrent_gates import CellName
from nnlib.kernels.window import Window
from nnlib.precision import DTYPES, DTypeName, IntegerName

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
CONVOLUTION_DEFAULTS: Final = {**WINDOW_DEFAULTS, "dilation": 1, "groups": 1}


@dataclass(frozen=True)
class Operation:
    """``needs``: sizes that have to be given and what they mean; ``divided``: the one that core groups share out.

    ``build`` gives a core group's launches; None: the operation is a ``convolution`` pass, for which plans are found.
    ``flops``: useful floating-point operations, None where they do not count. ``integers``: its numbers may be int16
    or int8.
    """

    needs: Mapping[str, str]
    divided: str
    build: Callable[[Sizes, DTypeName, Library], tuple[Launch, ...]] | None
    flops: Callable[[Sizes], int] | None = None
    defaults: Mapping[str, int] = field(default_factory=dict)
    plan: str = "streaming"
    convolution: Pass | None = None
    integers: bool = False


def convolution_of(sizes: Sizes) -> Convolution:
    """The convolution that has ``ro`` × ``co`` output pixels."""
    k, stride, padding, dilation = sizes["k"], sizes["stride"], sizes["padding"], sizes["dilation"]
    ri, ci = ((sizes[name] - 1) * stride + dilation * (k - 1) + 1 - 2 * padding for name in ("ro", "co"))
    return Convolution(
        batch=sizes["batch"],
        ni=sizes["ni"],
        no=sizes["no"],
        ri=ri,
        ci=ci,
        kr=k,
        kc=k,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=sizes["groups"],
    )


def _single(build: Callable[[Sizes, DTypeName], Kernel]) -> Callable[[Sizes, DTypeName, Library], tuple[Launch, ...]]:
    """One launch, the same in every library."""
    return lambda sizes, dtype, _: (Launch.of(build(sizes, dtype)),)


def _window(sizes: Sizes) -> Window:
    """The window over images of which ``ro`` × ``co`` output pixels remain."""
    k, stride, padding = sizes["k"], sizes["stride"], sizes.get("padding", 0)
    height, width = ((sizes[name] - 1) * stride + k - 2 * padding for name in ("ro", "co"))
    return Window(sizes["batch"], height, width, sizes["ni"], (k, k), stride, padding)


def _gemm(sizes: Sizes, dtype: DTypeName, library: Library) -> tuple[Launch, ...]:
    if dtype not in DTYPES:
        storage = cast(IntegerName, dtype)
        return (Launch.of(IntegerGemm(m=sizes["m"], n=sizes["n"], k=sizes["k"], dtype=storage)),)
    return (Launch.of(Gemm(m=sizes["m"], n=sizes["n"], k=sizes["k"], dtype=dtype, library=library)),)


def _stacked_gemm(sizes: Sizes, dtype: DTypeName, library: Library) -> tuple[Launch, ...]:
    leading = (sizes["batch"],)
    gemm = Gemm(m=sizes["m"], n=sizes["n"], k=sizes["k"], dtype=dtype, library=library)
    return (Launch.of(StackedGemm(gemm=gemm, a_leading=leading, b_leading=leading, c_leading=leading)),)


def _attention_shape(sizes: Sizes, dtype: DTypeName) -> AttentionShape:
    depth = sizes["depth"]
    return AttentionShape(
        batch=sizes["batch"],
        heads=sizes["heads"],
        queries=sizes["queries"],
        keys=sizes["keys"],
        depth=depth,
        value_depth=depth,
        dtype=dtype,
        scale=depth**-0.5,
        causal=bool(sizes["causal"]),
    )


def _attention(sizes: Sizes, dtype: DTypeName, library: Library) -> tuple[Launch, ...]:
    return (Launch.of(Attention(_attention_shape(sizes, dtype), library)),)


def _attention_gradient(sizes: Sizes, dtype: DTypeName, library: Library) -> tuple[Launch, ...]:
    shape = _attention_shape(sizes, dtype)
    by_query = AttentionQueryGradient(shape, library=library)
    return Launch.of(by_query), Launch.of(AttentionKeyValueGradient(shape, library))


def _attention_flops(products: int) -> Callable[[Sizes], int]:
    """Of products of all queries with all keys, seen or not."""

    def of(sizes: Sizes) -> int:
        pairs = sizes["batch"] * sizes["heads"] * sizes["queries"] * sizes["keys"]
        return 2 * products * pairs * sizes["depth"]

    return of


def _convolution(which: Pass) -> Operation:
    return Operation(
        CONVOLUTION,
        "batch",
        None,
        lambda sizes: convolution_of(sizes).flops,
        CONVOLUTION_DEFAULTS,
        convolution=which,
    )


def _recurrent(cell: CellName, *, gradient: bool = False) -> Operation:
    build = sequence_builds.recurrent_gradient if gradient else sequence_builds.recurrent
    return Operation(
        sequence_builds.RECURRENT,
        "batch",
        lambda sizes, dtype, library: build(cell, sizes, dtype, library),
        lambda sizes: sequence_builds.recurrent_flops(cell, sizes, products=2 if gradient else 1),
        defaults={"resident": 0},
        plan="step by step",
    )


def _launches(
    build: Callable[[Sizes, DTypeName], tuple[Launch, ...]],
) -> Callable[[Sizes, DTypeName, Library], tuple[Launch, ...]]:
    """Several launches, the same in every library."""
    return lambda sizes, dtype, _: build(sizes, dtype)


def _elementwise(function: Function) -> Operation:
    return Operation(
        {"elements": "numbers"},
        "elements",
        _single(lambda sizes, dtype: Elementwise(function, sizes["elements"], dtype)),
    )


def _row_loss(function: LossFunction) -> Operation:
    return Operation(
        MATRIX, "rows", _single(lambda sizes, dtype: RowLoss(function, sizes["rows"], sizes["columns"], dtype))
    )


def _dice(sizes: Sizes, dtype: DTypeName, library: Library) -> tuple[Launch, ...]:
    shape = sizes["rows"], sizes["columns"], dtype
    kernels: tuple[Kernel, ...] = (DiceSums(*shape), DiceGradient(*shape))
    return tuple(Launch.of(Batched(kernel=each, total=sizes["batch"])) for each in kernels)


POOLING: Final = {
    "batch": "images",
    "ni": "channels",
    "ro": "output rows",
    "co": "output columns",
    "k": "rows and columns of the window",
}
MATRIX: Final = {"rows": "rows", "columns": "columns"}
EMBEDDING: Final = {"rows": "tokens", "columns": "features", "count": "rows of the table"}

ATTENTION: Final = {
    "batch": "samples",
    "heads": "heads",
    "queries": "queries of a sample",
    "keys": "keys of a sample",
    "depth": "numbers of a query's head",
}

OPERATIONS: Final[Mapping[str, Operation]] = {
    "gemm": Operation(
        {"m": "rows of a and c", "n": "columns of b and c", "k": "columns of a, rows of b"},
        "m",
        _gemm,
        lambda sizes: 2 * sizes["m"] * sizes["n"] * sizes["k"],
        plan="mesh gemm",
        integers=True,
    ),
    "stacked_gemm": Operation(
        {
            "batch": "pairs of matrices",
            "m": "rows of a and c",
            "n": "columns of b and c",
            "k": "columns of a, rows of b",
        },
        "batch",
        _stacked_gemm,
        lambda sizes: 2 * sizes["batch"] * sizes["m"] * sizes["n"] * sizes["k"],
        plan="mesh gemm",
    ),
    "attention": Operation(
        ATTENTION, "batch", _attention, _attention_flops(2), defaults={"causal": 0}, plan="blocks of queries"
    ),
    # five products would do, but probabilities and their gradients are made once for queries and once for keys
    "attention_gradient": Operation(
        ATTENTION,
        "batch",
        _attention_gradient,
        _attention_flops(5),
        defaults={"causal": 0},
        plan="blocks of queries, blocks of keys",
    ),
    "lstm": _recurrent("lstm"),
    "lstm_gradient": _recurrent("lstm", gradient=True),
    "gru": _recurrent("gru"),
    "gru_gradient": _recurrent("gru", gradient=True),
    "row_convolution": Operation(
        sequence_builds.ROW_CONVOLUTION,
        "batch",
        _single(lambda sizes, dtype: sequence_builds.row_convolution("forward", sizes, dtype)),
    ),
    "ctc_loss": Operation(sequence_builds.CTC, "batch", _single(sequence_builds.ctc), plan="five passes"),
    "conv2d": _convolution("forward"),
    "conv2d_input_gradient": _convolution("input_gradient"),
    "conv2d_weight_gradient": _convolution("weight_gradient"),
    "im2col": Operation(
        POOLING, "batch", _single(lambda sizes, dtype: Im2col(_window(sizes), dtype)), defaults=WINDOW_DEFAULTS
    ),
    "col2im": Operation(
        POOLING, "batch", _single(lambda sizes, dtype: Col2im(_window(sizes), dtype)), defaults=WINDOW_DEFAULTS
    ),
    "max_pool": Operation(
        POOLING, "batch", _single(lambda sizes, dtype: MaxPool(_window(sizes), dtype)), defaults={"stride": 2}
    ),
    "max_pool_gradient": Operation(
        POOLING, "batch", _single(lambda sizes, dtype: MaxPoolGradient(_window(sizes), dtype)), defaults={"stride": 2}
    ),
    "average_pool": Operation(
        POOLING, "batch", _single(arrangement_builds.average_pool), defaults={"stride": 2, "padding": 0}
    ),
    "average_pool_gradient": Operation(
        POOLING,
        "batch",
        _single(lambda sizes, dtype: arrangement_builds.average_pool(sizes, dtype, gradient=True)),
        defaults={"stride": 2, "padding": 0},
    ),
    "upsample": Operation(
        {**POOLING, "k": "output rows to an input row"}, "batch", _single(arrangement_builds.upsample)
    ),
    "concatenate": Operation(
        {**MATRIX, "count": "matrices side by side"}, "rows", _single(arrangement_builds.concatenate)
    ),
    "dropout": Operation(MATRIX, "rows", _single(arrangement_builds.dropout)),
    "embedding": Operation(EMBEDDING, "rows", _single(arrangement_builds.embedding)),
    "embedding_gradient": Operation(
        EMBEDDING, "rows", lambda sizes, dtype, _: arrangement_builds.embedding_gradient(sizes, dtype)
    ),
    "bias_add": Operation(
        MATRIX, "rows", _single(lambda sizes, dtype: BiasAdd(sizes["rows"], sizes["columns"], dtype))
    ),
    "column_sum": Operation(
        MATRIX, "rows", _single(lambda sizes, dtype: ColumnSum(sizes["rows"], sizes["columns"], dtype))
    ),
    "softmax_cross_entropy": Operation(
        {"rows": "samples", "columns": "classes"},
        "rows",
        _single(lambda sizes, dtype: SoftmaxCrossEntropy(sizes["rows"], sizes["columns"], dtype)),
    ),
    "sum_copies": Operation(
        {"count": "copies", "elements": "numbers of each"},
        "elements",
        _single(lambda sizes, dtype: SumCopies(sizes["count"], sizes["elements"], dtype)),
    ),
    **{
        name: Operation(needs, next(iter(needs)), _launches(build), plan=plan)
        for name, (needs, build, plan) in NORMALISATIONS.items()
    },
    "softmax": Operation(
        MATRIX, "rows", _single(lambda sizes, dtype: RowSoftmax(sizes["rows"], sizes["columns"], dtype))
    ),
    "softmax_gradient": Operation(
        MATRIX, "rows", _single(lambda sizes, dtype: RowSoftmaxGradient(sizes["rows"], sizes["columns"], dtype))
    ),
    "log_softmax": Operation(
        MATRIX, "rows", _single(lambda sizes, dtype: RowSoftmax(sizes["rows"], sizes["columns"], dtype, log=True))
    ),
    "log_softmax_gradient": Operation(
        MATRIX,
        "rows",
        _single(lambda sizes, dtype: RowSoftmaxGradient(sizes["rows"], sizes["columns"], dtype, log=True)),
    ),
    "prelu": Operation(MATRIX, "rows", _single(lambda sizes, dtype: Prelu(sizes["rows"], sizes["columns"], dtype))),
    "prelu_gradient": Operation(
        MATRIX, "rows", _single(lambda sizes, dtype: PreluGradient(sizes["rows"], sizes["columns"], dtype))
    ),
    "dice": Operation(
        {"batch": "samples", "rows": "positions of a sample", "columns": "classes"}, "batch", _dice, plan="two passes"
    ),
    **{function: _row_loss(function) for function in LOSSES},
    **{function: _elementwise(function) for function in FUNCTIONS},
}
"""What ``taihusim kernel`` knows."""
