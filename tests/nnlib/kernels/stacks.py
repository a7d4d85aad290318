"""Random products of stacks of matrices."""

from __future__ import annotations

from hypothesis import strategies as st

from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.products.stacked_gemm import StackedGemm


@st.composite
def stacked_gemms(draw: st.DrawFn) -> StackedGemm:
    """One to three leading axes, of each operand and of the result there or not."""
    leading = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    a, b, c = ([draw(st.sampled_from([1, length])) for length in leading] for _ in range(3))
    # an axis that only the result had would be copies of one product
    c = [min(length, max(left, right)) for left, right, length in zip(a, b, c, strict=True)]
    m, n, k = (draw(st.integers(1, 40)) for _ in range(3))
    return StackedGemm(
        gemm=Gemm(
            m=m,
            n=n,
            k=k,
            dtype=draw(st.sampled_from(["fp64", "fp32"])),
            transpose_a=draw(st.booleans()),
            transpose_b=draw(st.booleans()),
        ),
        a_leading=tuple(a),
        b_leading=tuple(b),
        c_leading=tuple(c),
    )
