"""Kernels of every kind over random shapes, and data for them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nnlib.kernels.clock import empty_arrays
from nnlib.kernels.elementwise import BiasAdd, Elementwise, SumCopies
from nnlib.kernels.functions.table import FUNCTIONS
from nnlib.kernels.gemm import Gemm
from nnlib.kernels.im2col import Col2im, Im2col
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pooling import MaxPool, MaxPoolGradient
from nnlib.kernels.reduction import ColumnSum
from nnlib.kernels.softmax import SoftmaxCrossEntropy
from nnlib.kernels.window import Window
from sim.chip.memory import Array
from tests.nnlib.kernels.arrangements import arrangements, fill_arrangement
from tests.nnlib.kernels.attentions import AttentionKernel, attentions, fill_attention
from tests.nnlib.kernels.fixed_points import fill_fixed_point, fixed_points
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


gemms = st.builds(Gemm, m=small, n=small, k=small, dtype=dtypes, transpose_a=st.booleans(), transpose_b=st.booleans())
kernels: st.SearchStrategy[Kernel] = st.one_of(
    arrangements,
    gemms,
    attentions,
    fixed_points,
    stacked_gemms(),
    sequence_kernels,
    st.builds(Elementwise, function=functions, elements=st.integers(1, 3000), dtype=dtypes),
    st.builds(SumCopies, count=st.integers(1, 5), elements=st.integers(1, 2000), dtype=dtypes),
    st.builds(BiasAdd, rows=st.integers(1, 300), channels=small, dtype=dtypes),
    st.builds(ColumnSum, rows=st.integers(1, 300), columns=small, dtype=dtypes, squared=st.booleans()),
    st.builds(SoftmaxCrossEntropy, rows=st.integers(1, 200), classes=st.integers(1, 20), dtype=dtypes),
    st.builds(Im2col, window=windows(), dtype=dtypes),
    st.builds(Col2im, window=windows(), dtype=dtypes),
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
        arrays["labels"][:, 0] = rng.integers(0, kernel.classes, kernel.rows)
    if isinstance(kernel, Elementwise):
        fill_elementwise(kernel, arrays)
    if isinstance(kernel, AttentionKernel):
        fill_attention(kernel, arrays, rng)
    fill_arrangement(kernel, arrays, rng)
    fill_fixed_point(kernel, arrays, rng)
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
