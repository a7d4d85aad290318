"""Random attentions, and data for their kernels."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nnlib.kernels.attention import Attention, AttentionKeyValueGradient, AttentionQueryGradient
from nnlib.kernels.attention_shape import AttentionShape
from nnlib.kernels.kernel import Kernel
from sim.chip.memory import Array

AttentionKernel = Attention | AttentionQueryGradient | AttentionKeyValueGradient


@st.composite
def attention_shapes(draw: st.DrawFn) -> AttentionShape:
    """Queries and keys of any number, heads of any width, all kinds of masks."""
    batch, heads = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    depth = draw(st.integers(1, 20))
    return AttentionShape(
        batch=batch,
        heads=heads,
        queries=draw(st.integers(1, 150)),
        keys=draw(st.integers(1, 150)),
        depth=depth,
        value_depth=draw(st.integers(1, 20)),
        dtype=draw(st.sampled_from(["fp64", "fp32"])),
        scale=depth**-0.5,
        causal=draw(st.booleans()),
        padded=draw(st.booleans()),
        mask=draw(st.sampled_from([None, (1, 1), (batch, 1), (1, heads), (batch, heads)])),
        dropped=draw(st.sampled_from([None, 0.1, 0.5])),
    )


attentions: st.SearchStrategy[Kernel] = st.one_of(
    st.builds(Attention, attention_shapes()),
    st.builds(AttentionQueryGradient, attention_shapes(), st.booleans()),
    st.builds(AttentionKeyValueGradient, attention_shapes()),
)


def fill_attention(kernel: AttentionKernel, arrays: dict[str, Array], rng: np.random.Generator) -> None:
    """Lengths that leave a key, what dropout keeps, and sums of exponentials that belong to scores."""
    shape = kernel.shape
    if "lengths" in arrays:
        arrays["lengths"][...] = rng.integers(1, shape.keys + 1, shape.batch)
    if "keep" in arrays:
        assert shape.dropped is not None
        arrays["keep"][...] = rng.random(arrays["keep"].shape) >= shape.dropped
    if not isinstance(kernel, Attention):
        arrays["logs"][...] = np.abs(arrays["logs"]) + np.log(shape.keys)
