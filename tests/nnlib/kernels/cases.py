"""Kernels of every kind over random shapes, and data for them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nnlib.kernels.convolutions.depthwise import DepthwiseForward, DepthwiseInputGradient, DepthwiseWeightGradient
from nnlib.kernels.convolutions.grouped import Grouped
from nnlib.kernels.convolutions.im2col import Col2im, Im2col
from nnlib.kernels.convolutions.patch_window import PatchWindow
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pointwise.elementwise import BiasAdd, Elementwise, SumCopies
from nnlib.kernels.pointwise.functions.table import FUNCTIONS
from nnlib.kernels.pointwise.prelu import Prelu, PreluGradient
from nnlib.kernels.pointwise.reparameterise import Reparameterise
from nnlib.kernels.pointwise.spread_shares import SpreadShares
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.reducing.pooling import MaxPool, MaxPoolGradient
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.kernels.rows.dice import DiceGradient, DiceSums
from nnlib.kernels.rows.row_loss import LOSSES, RowLoss
from nnlib.kernels.rows.row_softmax import RowSoftmax, RowSoftmaxGradient
from nnlib.kernels.rows.softmax import SoftmaxCrossEntropy
from nnlib.kernels.simulation import empty_arrays
from nnlib.kernels.window import Window
from nnlib.layers.randomness import key_numbers
from nnlib.ops.reach import reaches
from sim.chip.memory import Array
from tests.nnlib.kernels.arrangements import arrangements, fill_arrangement
from tests.nnlib.kernels.attentions import AttentionKernel, attentions, fill_attention
from tests.nnlib.kernels.fixed_points import fill_fixed_point, fixed_points
from tests.nnlib.kernels.normalisations import fill_normalisation, normalisations
from tests.nnlib.kernels.sequences import fill_sequences, sequence_kernels
from tests.nnlib.kernels.stacks import stacked_gemms

dtypes = st.sampled_from(["fp64", "fp32"])
functions = st.sampled_from(sorted(FUNCTIONS))
small = st.integers(1, 70)


@st.composite
def windows(draw: st.DrawFn, *, padded: bool = True) -> Window:
    """Windows that fit their image, with ragged edges, strides and padding."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    padding = draw(st.integers(0, min(2, min(kernel) - 1))) if padded else 0
    return Window(
        batch=draw(st.integers(1, 5)),
        height=draw(st.integers(kernel[0], 11)),
        width=draw(st.integers(kernel[1], 11)),
        channels=draw(st.integers(1, 9)),
        kernel=kernel,
        stride=draw(st.integers(1, 3)),
        padding=padding,
    )


@st.composite
def cross_entropies(draw: st.DrawFn) -> Kernel:
    """Rows that fit the LDM and rows that do not, some with smoothed labels and weighted classes."""
    classes = draw(st.one_of(st.integers(1, 20), st.integers(1800, 4200)))
    weights = tuple(np.linspace(0.5, 2, classes).tolist()) if draw(st.booleans()) else None
    return SoftmaxCrossEntropy(
        draw(st.integers(1, 200)), classes, draw(dtypes), weights, draw(st.sampled_from([0.0, 0.1]))
    )


@st.composite
def dice_kernels(draw: st.DrawFn) -> Kernel:
    """The sums or the gradient; binary ones have one class."""
    binary, squared = draw(st.booleans()), draw(st.booleans())
    positions, dtype = draw(st.integers(1, 900)), draw(dtypes)
    classes = 1 if binary else draw(st.integers(1, 30))
    if draw(st.booleans()):
        return DiceSums(positions, classes, dtype, binary=binary, squared=squared)
    return DiceGradient(positions, classes, dtype, binary=binary, squared=squared)


@st.composite
def patch_windows(draw: st.DrawFn) -> PatchWindow:
    """Windows of convolutions that fit: strides, dilation and padding of every side apart."""
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    top, bottom, left, right = (draw(st.integers(0, 2)) for _ in range(4))
    around = top + bottom, left + right
    least = [max(1, apart * (taps - 1) + 1 - more) for apart, taps, more in zip(dilation, kernel, around, strict=True)]
    rows, columns = reaches(
        (draw(st.integers(least[0], 12)), draw(st.integers(least[1], 12))),
        kernel,
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        padding=(top, bottom, left, right),
        dilation=dilation,
    )
    return PatchWindow(draw(st.integers(1, 4)), draw(st.integers(1, 9)), rows, columns)


gemms = st.builds(Gemm, m=small, n=small, k=small, dtype=dtypes, transpose_a=st.booleans(), transpose_b=st.booleans())
kernels: st.SearchStrategy[Kernel] = st.one_of(
    arrangements,
    gemms,
    attentions,
    fixed_points,
    normalisations,
    stacked_gemms(),
    sequence_kernels,
    st.builds(Elementwise, function=functions, elements=st.integers(1, 3000), dtype=dtypes),
    st.builds(
        RowSoftmax,
        rows=st.integers(1, 200),
        columns=st.one_of(st.integers(1, 90), st.integers(1400, 4200)),
        dtype=dtypes,
        log=st.booleans(),
    ),
    st.builds(
        RowSoftmaxGradient,
        rows=st.integers(1, 200),
        columns=st.one_of(st.integers(1, 90), st.integers(1400, 2900)),
        dtype=dtypes,
        log=st.booleans(),
    ),
    st.builds(
        RowLoss,
        function=st.sampled_from(sorted(LOSSES)),
        rows=st.integers(1, 200),
        columns=st.one_of(st.integers(1, 90), st.integers(1400, 2900)),
        dtype=dtypes,
    ),
    st.builds(Prelu, rows=st.integers(1, 300), channels=small, dtype=dtypes),
    st.builds(PreluGradient, rows=st.integers(1, 300), channels=small, dtype=dtypes),
    dice_kernels(),
    st.builds(SumCopies, count=st.integers(1, 5), elements=st.integers(1, 2000), dtype=dtypes),
    st.builds(BiasAdd, rows=st.integers(1, 300), channels=small, dtype=dtypes),
    st.builds(ColumnSum, rows=st.integers(1, 300), columns=small, dtype=dtypes, squared=st.booleans()),
    cross_entropies(),
    st.builds(Reparameterise, samples=st.integers(1, 20), elements=st.integers(1, 300), dtype=dtypes),
    st.builds(
        SpreadShares,
        samples=st.integers(1, 90),
        parts=st.integers(1, 300),
        dtype=dtypes,
        divisor=st.integers(1, 9),
        counted=st.booleans(),
    ),
    st.builds(Im2col, window=windows() | patch_windows(), dtype=dtypes),
    st.builds(Col2im, window=windows() | patch_windows(), dtype=dtypes),
    st.builds(DepthwiseForward, window=patch_windows(), dtype=dtypes),
    st.builds(DepthwiseInputGradient, window=patch_windows(), dtype=dtypes),
    st.builds(DepthwiseWeightGradient, window=patch_windows(), dtype=dtypes),
    st.builds(Grouped, kernel=gemms, groups=st.integers(1, 4), planes=st.just(("a",))),
    st.builds(MaxPool, window=windows(padded=False), dtype=dtypes),
    st.builds(MaxPoolGradient, window=windows(padded=False), dtype=dtypes),
)


def data_for(kernel: Kernel, *, seed: int = 0) -> dict[str, Array]:
    """Random inputs, NaN outputs."""
    rng = np.random.default_rng(seed)
    arrays = empty_arrays(kernel)
    for parameter in kernel.parameters():
        if parameter.use != "out":
            arrays[parameter.name][...] = rng.standard_normal(parameter.shape)
    if isinstance(kernel, ColumnSum):  # a sum of both signs may nearly cancel, and its error is then large beside it
        arrays["x"][...] = np.abs(arrays["x"])
    if isinstance(kernel, SoftmaxCrossEntropy):
        arrays["labels"][:, 0] = rng.integers(-1, kernel.classes, kernel.rows)
    if isinstance(kernel, Elementwise):
        fill_elementwise(kernel, arrays)
    if isinstance(kernel, Reparameterise):
        arrays["hyper"][...] = key_numbers(3 << 50 | 7, 5)
    if isinstance(kernel, SpreadShares) and kernel.counted:
        arrays["counts"][...] = rng.integers(0, 4, arrays["counts"].shape)
    if isinstance(kernel, RowLoss | DiceSums | DiceGradient):
        fill_loss(kernel, arrays, rng)
    if isinstance(kernel, AttentionKernel):
        fill_attention(kernel, arrays, rng)
    fill_arrangement(kernel, arrays, rng)
    fill_fixed_point(kernel, arrays, rng)
    fill_normalisation(kernel, arrays)
    fill_sequences(kernel, arrays, rng)
    return arrays


HYPER = {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "decay": 0.01, "correction1": 0.1, "correction2": 0.01}
"""What may not be any number."""


def fill_elementwise(kernel: Elementwise, arrays: dict[str, Array]) -> None:
    """Numbers for which the function is defined; hyper-parameters as they occur."""
    if kernel.function in ("log", "sqrt", "sqrt_gradient"):
        name = kernel.parameters()[0].name
        arrays[name][...] = np.abs(arrays[name])
    if "square" in arrays:
        arrays["square"][...] = np.abs(arrays["square"])
    for place, name in enumerate(kernel.hyper):
        arrays["hyper"][place] = HYPER.get(name, abs(arrays["hyper"][place]))


def fill_loss(kernel: RowLoss | DiceSums | DiceGradient, arrays: dict[str, Array], rng: np.random.Generator) -> None:
    """Probabilities; targets and labels of which some are left out; sums that probabilities may have."""
    if "probabilities" in arrays:
        arrays["probabilities"][...] = rng.uniform(0.01, 0.99, arrays["probabilities"].shape)
    if isinstance(kernel, RowLoss):
        if kernel.function.startswith("binary"):
            arrays["target"][...] = rng.uniform(-0.3, 1, arrays["target"].shape)
        # neither may the sum of a row nearly cancel
        arrays["weights"][...] = np.abs(arrays["weights"])
        return
    shape = arrays["labels"].shape
    arrays["labels"][...] = rng.uniform(-0.3, 1, shape) if kernel.binary else rng.integers(-1, kernel.classes, shape)
    if isinstance(kernel, DiceGradient):
        arrays["both"][...], arrays["sizes"][...] = np.abs(arrays["both"]), 3 + np.abs(arrays["sizes"])
