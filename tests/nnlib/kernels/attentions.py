"""Random attentions, and data for their kernels."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nnlib.kernels.attention.attention import Attention, AttentionKeyValueGradient, AttentionQueryGradient
from nnlib.kernels.attention.attention_shape import AttentionShape
from nnlib.kernels.kernel import Kernel
from nnlib.layers.randomness import key_numbers
from sim.chip.memory import Array

AttentionKernel = Attention | AttentionQueryGradient | AttentionKeyValueGradient


@st.composite
def attention_shapes(draw: st.DrawFn, *, may_pack: bool = True) -> AttentionShape:
    """Queries and keys of any number, heads of any width, all kinds of masks."""
    batch, heads = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    queries, depth, packed = draw(st.integers(1, 150)), draw(st.integers(1, 20)), may_pack and draw(st.booleans())
    return AttentionShape(
        batch=batch,
        heads=heads,
        queries=queries,
        keys=queries if packed else draw(st.integers(1, 150)),
        depth=depth,
        value_depth=depth if packed else draw(st.integers(1, 20)),
        packed=packed,
        dtype=draw(st.sampled_from(["fp64", "fp32"])),
        scale=depth**-0.5,
        causal=draw(st.booleans()),
        padded=draw(st.booleans()),
        mask=draw(st.sampled_from([None, (1, 1), (batch, 1), (1, heads), (batch, heads)])),
        dropped=draw(st.sampled_from([None, 0.1, 0.5])),
    )


attentions: st.SearchStrategy[Kernel] = st.one_of(
    st.builds(Attention, attention_shapes()),
    # packed, it leaves the gradients by keys and values to the other kernel
    st.builds(AttentionQueryGradient, attention_shapes(may_pack=False), st.booleans()),
    st.builds(AttentionKeyValueGradient, attention_shapes()),
)


def fill_attention(kernel: AttentionKernel, arrays: dict[str, Array], rng: np.random.Generator) -> None:
    """Lengths that leave a key, keys of dropout, and sums of exponentials that belong to scores."""
    shape = kernel.shape
    if "lengths" in arrays:
        arrays["lengths"][...] = rng.integers(1, shape.keys + 1, shape.batch)
    if "hyper" in arrays:
        arrays["hyper"][...] = key_numbers(int(rng.integers(0, 1 << 62)), int(rng.integers(0, 100)))
    if not isinstance(kernel, Attention):
        arrays["logs"][...] = np.abs(arrays["logs"]) + np.log(shape.keys)
