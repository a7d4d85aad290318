"""Attention: what needs no other library to compare with."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from nnlib.graph import Graph, Input, Node
from nnlib.layers.attention import DotProductAttention, MultiHeadAttention
from nnlib.layers.layer import INFERENCE, Layer, Run, Shape, ShapeError
from nnlib.layers.matmul import MatMul
from nnlib.ops.attention import Masking, attention_backward, attention_forward, row_dots
from nnlib.ops.attention_dropout import KeptProbabilities
from nnlib.ops.dropout import keep_mask


def test_one_key_gives_its_value() -> None:
    query, key, value = (np.full((2, 1, 3), number, dtype=np.float32) for number in (1, 2, 5))
    out, logs = attention_forward(query, key, value, heads=1)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, value)
    np.testing.assert_allclose(logs, np.full((2, 1, 1), 6 / 3**0.5), rtol=1e-6)


def test_a_query_without_keys_gives_zeros_and_no_gradient() -> None:
    rng = np.random.default_rng(0)
    query, key, value = (rng.standard_normal((2, 4, 6)) for _ in range(3))
    masking = Masking(lengths=np.array([0, 3]))
    out, logs = attention_forward(query, key, value, heads=2, masking=masking)
    assert not out[0].any()
    assert np.isneginf(logs[0]).all()
    grad = np.ones_like(out)
    dots = row_dots(grad, out, heads=2)
    for each in attention_backward(grad, query, key, value, logs, dots=dots, heads=2, masking=masking):
        assert not each[0].any()
        assert np.isfinite(each).all()


@pytest.mark.parametrize("shape", [(3, 2, 5, 7), (2, 3, 8, 8), (1, 1, 1, 1), (2, 4, 3, 13)])
def test_blocks_of_kept_probabilities_are_those_of_the_whole_mask(shape: tuple[int, int, int, int]) -> None:
    batch, heads, queries, keys = shape
    whole = keep_mask(5, 9, shape, 0.4)
    kept = KeptProbabilities(key=5, first_sample=9, heads=heads, queries=queries, keys=keys, rate=0.4)
    for first in range(batch):
        for query in range(queries):
            for seen in (keys, max(1, keys - 2)):
                for _ in range(2):  # the second time as it was remembered
                    block = kept(slice(first, batch), slice(query, queries), seen)
                    np.testing.assert_array_equal(block, whole[first:, :, query:, :seen])


def test_long_sequences_need_no_square_array() -> None:
    length, width = 4096, 8
    rng = np.random.default_rng(0)
    query, key, value = (rng.standard_normal((1, length, width)).astype(np.float32) for _ in range(3))
    tracemalloc.start()
    out, logs = attention_forward(query, key, value, heads=1)
    grads = attention_backward(out, query, key, value, logs, dots=row_dots(out, out, heads=1), heads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(grads) == 3
    assert peak < length * length * 4 / 4, "a quarter of the scores"


def test_dropout_is_only_for_training_and_does_not_depend_on_how_samples_are_split() -> None:
    layer = MultiHeadAttention("a", 2, dropout=0.5)
    rng = np.random.default_rng(0)
    params = layer.initialise(((5, 8),), rng, np.dtype(np.float64))
    x = rng.standard_normal((4, 5, 8))
    whole, _ = layer.forward(params, (x,), Run(training=True, key=3, first_sample=10))
    for first in range(4):
        part, _ = layer.forward(params, (x[first : first + 1],), Run(training=True, key=3, first_sample=10 + first))
        np.testing.assert_allclose(part[0], whole[first], rtol=1e-12)
    other, _ = layer.forward(params, (x,), Run(training=True, key=4, first_sample=10))
    plain, _ = MultiHeadAttention("a", 2).forward(params, (x,), INFERENCE)
    assert np.abs(other - whole).max() > 1e-3
    assert np.abs(plain - whole).max() > 1e-3
    np.testing.assert_array_equal(layer.forward(params, (x,), INFERENCE)[0], plain)


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (MultiHeadAttention("a", 3), ((5, 8),)),
        (MultiHeadAttention("a", 2), ((5,),)),
        (MultiHeadAttention("a", 2), ((5, 8), (5, 8), (5, 8))),
        (MultiHeadAttention("a", 2), ((),)),
        (DotProductAttention("a", 2), ((5, 8), (6, 8))),
        (DotProductAttention("a", 2), ((5, 8), (6, 6), (6, 8))),
        (DotProductAttention("a", 2), ((5, 8), (6, 8), (7, 8))),
        (DotProductAttention("a", 2), ((5, 8), (6, 8), (6, 8), (1,))),
        (MatMul("a"), ((5, 8), (9, 8))),
        (MatMul("a"), ((2, 5, 8), (3, 8, 5))),
        (MatMul("a"), ((5, 8),)),
        (MatMul("a", transpose_a=True), ((8,), (8, 5))),
    ],
)
def test_shapes_that_do_not_fit_are_an_error(layer: Layer, shapes: tuple[Shape, ...]) -> None:
    inputs = tuple(Input(f"x{number}", shape) for number, shape in enumerate(shapes))
    with pytest.raises(ShapeError, match=r"layer 'a' \("):
        Graph(inputs, (Node(layer, tuple(each.name for each in inputs)),))


def test_multiply_accumulates() -> None:
    assert MultiHeadAttention("a", 2).multiply_accumulates(((5, 8),)) == 5 * 8 * 24 + 2 * 5 * 5 * 8 + 5 * 8 * 8
    memory = 5 * 8 * 8 + 2 * 7 * 6 * 8 + 2 * 5 * 7 * 8 + 5 * 8 * 8
    assert MultiHeadAttention("a", 2).multiply_accumulates(((5, 8), (7, 6), ())) == memory
    assert DotProductAttention("a", 2).multiply_accumulates(((5, 8), (7, 8), (7, 4))) == 5 * 7 * 12
    assert MatMul("a", transpose_b=True).multiply_accumulates(((2, 5, 8), (6, 8))) == 2 * 5 * 6 * 8
