"""Layers that pool, arrange, resize, add, reduce and drop: what they refuse, fresh parameters, what they keep."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.layers.adaptive_pooling import AdaptiveMaxPool
from nnlib.layers.arrangement import Concatenate, Pad, Reshape, Select, Slice, Transpose
from nnlib.layers.average_pooling import AveragePool, AveragePool1d
from nnlib.layers.axis_reduction import Expand, Mean, Sum
from nnlib.layers.binary import Add, Divide
from nnlib.layers.dropout import Dropout
from nnlib.layers.embedding import Embedding, Gather, PositionEmbedding
from nnlib.layers.global_pooling import GlobalAveragePool
from nnlib.layers.layer import Layer, Run, Shape, ShapeError
from nnlib.layers.max_pooling import MaxPool, MaxPool1d
from nnlib.layers.resize import Upsample

REFUSED: list[tuple[Layer, tuple[Shape, ...], list[str]]] = [
    (MaxPool("odd", 3, 2, 3), ((9, 9, 2),), ["max_pool", "padding of 3"]),
    (MaxPool("odd", (2, 5), 1), ((9, 4, 2),), ["(2, 5)", "(9, 4, 2)"]),
    (MaxPool1d("odd", 3, 1), ((9, 4, 2),), ["(length, channels)"]),
    (AveragePool("odd", 3, 1), ((9, 4),), ["(height, width, channels)"]),
    (AveragePool1d("odd", 5, 1), ((4, 2),), ["window of 5"]),
    (GlobalAveragePool("odd"), ((7,),), ["(..., channels)", "(7,)"]),
    (AdaptiveMaxPool("odd", (2, 0)), ((4, 4, 1),), ["(2, 0)"]),
    (Reshape("odd", (5, -1)), ((4, 4),), ["(5, -1)", "(4, 4)"]),
    (Reshape("odd", (-1, -1)), ((4, 4),), ["(-1, -1)"]),
    (Reshape("odd", (3, 4)), ((4, 4),), ["(3, 4)"]),
    (Transpose("odd", (1, 0)), ((4, 4, 2),), ["(1, 0)", "(4, 4, 2)"]),
    (Concatenate("odd"), ((4, 2), (3, 2)), ["(4, 2)", "(3, 2)"]),
    (Concatenate("odd"), ((4, 2), (2,)), ["(2,)"]),
    (Concatenate("odd", 2), ((4, 2), (4, 2)), ["axis 2"]),
    (Slice("odd", 0, 4, 4), ((4, 2),), ["4:4:1"]),
    (Slice("odd", 3, 0, 1), ((4, 2),), ["axis 3"]),
    (Pad("odd", ((1, 1),)), ((4, 2),), ["(4, 2)"]),
    (Pad("odd", ((4, 0), (0, 0)), "reflect"), ((4, 2),), ["reflect"]),
    (Pad("odd", ((-1, 0), (0, 0)), "edge"), ((4, 2),), ["edge"]),
    (Pad("odd", ((-2, -2), (0, 0))), ((4, 2),), ["constant"]),
    (Select("odd", 0, (4,)), ((4, 2),), ["(4,)"]),
    (Upsample("odd"), ((4, 4, 2),), ["a scale or a size"]),
    (Upsample("odd", 2, 5), ((4, 4, 2),), ["a scale or a size"]),
    (Upsample("odd", 2), ((4,),), ["(4,)"]),
    (Add("odd"), ((4, 2), (3, 2)), ["add", "(3, 2)"]),
    (Divide("odd"), ((4, 2),), ["two inputs"]),
    (Mean("odd", (2,)), ((4, 2),), ["(2,)"]),
    (Sum("odd", (0, -2)), ((4, 2),), ["(0, -2)"]),
    (Expand("odd", (3, 2)), ((4, 2),), ["(3, 2)", "(4, 2)"]),
    (Dropout("odd", 1.5), ((4,),), ["1.5"]),
    (PositionEmbedding("odd"), ((4,),), ["(length, channels)"]),
    (PositionEmbedding("odd", 3), ((4, 2),), ["3 positions", "(4, 2)"]),
    (Gather("odd", 2), ((4, 2), (3,)), ["axis 2"]),
    (Gather("odd"), ((4, 2),), ["indices"]),
]


@pytest.mark.parametrize(("layer", "shapes", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_shapes_that_do_not_go_are_refused_by_name(layer: Layer, shapes: tuple[Shape, ...], said: list[str]) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.output_shape(shapes)
    for part in ["'odd'", *said]:
        assert part in str(caught.value)


def test_fresh_tables() -> None:
    rng = np.random.default_rng(0)
    table = Embedding("e", 300, 50).initialise(((7,),), rng, np.dtype("float32"))["weight"]
    assert (table.shape, table.dtype) == ((300, 50), np.float32)
    assert abs(table.std() - 1) < 0.02
    places = PositionEmbedding("p").initialise(((200, 64),), rng, np.dtype("float64"))["weight"]
    assert abs(places.std() - 0.02) < 0.001


def test_indices_outside_a_sample_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'g'.*0 to 4"):
        Gather("g").forward({}, (np.ones((1, 4, 2)), np.array([[0, 4]])), Run())


@pytest.mark.parametrize(
    "layer", [AveragePool("p", 2, 2), Mean("m", (0,)), Slice("s", 0, 0, 2), Upsample("u", 2), Add("a")]
)
def test_what_backward_does_not_need_is_not_kept(layer: Layer) -> None:
    _, saved = layer.forward({}, (np.ones((2, 4, 4, 3)),), Run(training=True))
    kept = saved if isinstance(saved, tuple | list) else (saved,)
    assert not any(isinstance(each, np.ndarray) for each in kept)


def test_dropout_keeps_a_byte_for_each_number() -> None:
    _, mask = Dropout("d", 0.5).forward({}, (np.ones((2, 300)),), Run(training=True))
    assert mask.nbytes == 600
