"""Kernels of fixed point over random shapes, and data for them: integers of all sizes, some of which saturate."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nnlib.kernels.convolutions.patch_window import PatchWindow
from nnlib.kernels.fixed.dynamic_step import DynamicStep
from nnlib.kernels.fixed.fixed_point import Dequantise, Quantise, Requantise
from nnlib.kernels.fixed.integer_depthwise import IntegerDepthwise
from nnlib.kernels.fixed.integer_sum import IntegerSum
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.products.integer_gemm import IntegerGemm
from nnlib.kernels.window import Window
from nnlib.precision.integer import sum_scales
from nnlib.precision.random import key_numbers
from sim.chip.memory import Array

dtypes = st.sampled_from(["fp64", "fp32"])
storages = st.sampled_from(["int16", "int8"])
roundings = st.sampled_from(["nearest", "stochastic"])
rows, columns = st.integers(1, 300), st.integers(1, 40)
length = st.integers(1, 90)


@st.composite
def windows(draw: st.DrawFn) -> PatchWindow:
    """Images and a kernel that fits them."""
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    height, width = (draw(st.integers(taps, 9)) for taps in kernel)
    batch, channels = draw(st.integers(1, 70)), draw(st.integers(1, 20))
    stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, 1))
    return PatchWindow.of(Window(batch, height, width, channels, kernel, stride, padding))


fixed_points: st.SearchStrategy[Kernel] = st.one_of(
    st.builds(Quantise, rows=rows, columns=columns, dtype=storages, source=dtypes, rounding=roundings),
    st.builds(DynamicStep, elements=st.integers(1, 3000), dtype=dtypes, storage=storages, headroom=st.integers(0, 4)),
    st.builds(Dequantise, rows=rows, columns=columns, dtype=storages, target=dtypes),
    st.builds(Requantise, rows=rows, columns=columns, dtype=storages, relu=st.booleans(), rounding=roundings),
    st.builds(IntegerGemm, m=length, n=length, k=length, dtype=storages, relu=st.booleans(), clipped=st.booleans()),
    st.builds(
        IntegerSum,
        elements=st.integers(1, 3000),
        count=st.integers(1, 3),
        dtype=storages,
        relu=st.booleans(),
        clipped=st.booleans(),
    ),
    st.builds(IntegerDepthwise, window=windows(), dtype=storages, relu=st.booleans(), clipped=st.booleans()),
)


def fill_fixed_point(kernel: Kernel, arrays: dict[str, Array], rng: np.random.Generator) -> None:
    """Whole ranges of integers; steps and multipliers at which some results saturate."""
    if not isinstance(kernel, Quantise | Dequantise | Requantise | IntegerGemm | IntegerSum | IntegerDepthwise):
        return
    top = 127 if kernel.dtype == "int8" else 2**15 - 1
    for name in ("a", "b", "q"):
        if name in arrays:
            arrays[name][...] = rng.integers(-top - 1, top + 1, arrays[name].shape)
    if isinstance(kernel, IntegerSum | IntegerDepthwise):
        for name, array in arrays.items():
            if name.startswith(("x", "weight")):
                array[...] = rng.integers(-top - 1, top + 1, array.shape)
    if isinstance(kernel, IntegerSum):
        steps = rng.uniform(1, 4, kernel.count)
        arrays["scales"][...] = sum_scales(steps.tolist(), float(steps.sum() / 2), kernel.dtype)
        return
    if isinstance(kernel, IntegerDepthwise):
        spread = top**2 * kernel.window.taps**0.5
        arrays["bias"][...] = np.clip(spread, 0, 2**30) * rng.standard_normal(arrays["bias"].shape) / 4
        arrays["multiplier"][...] = rng.uniform(0.5, 2, arrays["multiplier"].shape) * top / spread
        return
    if "step" in arrays:
        arrays["step"][...] = rng.uniform(1, 3, arrays["step"].shape) / top
    if "sums" in arrays:
        arrays["sums"][...] = rng.integers(-(2**31), 2**31, arrays["sums"].shape)
        arrays["multiplier"][...] = rng.uniform(0.5, 2, arrays["multiplier"].shape) * top / 2**31
    if isinstance(kernel, IntegerGemm):
        spread = top**2 * kernel.k**0.5
        arrays["bias"][...] = np.clip(spread, 0, 2**30) * rng.standard_normal(arrays["bias"].shape) / 4
        arrays["multiplier"][...] = rng.uniform(0.5, 2, arrays["multiplier"].shape) * top / min(spread, 2**31)
    if "key" in arrays:
        arrays["key"][...] = key_numbers(0x123456789ABCDEF0 + len(arrays["step" if "step" in arrays else "sums"]))
