"""Graphs from the layers of a workload file."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import ShapeError
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.models.build import build_graph
from nnlib.models.schema import EVERY_KIND, layers_keys

EVERY = layers_keys(EVERY_KIND.layers, EVERY_KIND.losses)


def keys(*layers: dict[str, Any]) -> list[Any]:
    return list(EVERY.model_validate({"input": [1], "layers": list(layers)}).layers)


def test_every_key_reaches_its_layer() -> None:
    graph = build_graph(
        {"input": (9, 9, 2)},
        keys(
            {"type": "conv2d", "channels": 4, "kernel": 3, "stride": 2, "padding": 1, "bias": False},
            {"type": "maxpool", "kernel": 3, "stride": 1},
            {"type": "relu"},
            {"type": "flatten"},
            {"type": "linear", "units": 5, "bias": False},
        ),
    )
    assert [node.layer for node in graph.nodes] == [
        Conv2d("conv2d1", 4, (3, 3), stride=2, padding=1, bias=False),
        MaxPool("maxpool1", 3, 1),
        ReLU("relu1"),
        Flatten("flatten1"),
        Linear("linear1", 5, bias=False),
    ]
    assert [node.inputs for node in graph.nodes] == [
        ("input",),
        ("conv2d1",),
        ("maxpool1",),
        ("relu1",),
        ("flatten1",),
    ]
    assert graph.output_shape == (5,)


def test_what_is_not_said() -> None:
    graph = build_graph(
        {"input": (9, 9, 2)},
        keys({"type": "conv2d", "channels": 4, "kernel": 3}, {"type": "maxpool", "kernel": 3}),
    )
    assert [node.layer for node in graph.nodes] == [
        Conv2d("conv2d1", 4, (3, 3), stride=1, padding=0, bias=True),
        MaxPool("maxpool1", 3, 3),
    ]


def test_layers_are_numbered_by_type_and_names_are_kept() -> None:
    relu = {"type": "relu"}
    graph = build_graph({"input": (4,)}, keys(relu, {"type": "linear", "units": 3}, {**relu, "name": "mine"}, relu))
    assert [node.name for node in graph.nodes] == ["relu1", "linear1", "mine", "relu3"]


def test_a_given_name_that_meets_a_number_is_refused() -> None:
    with pytest.raises(ShapeError, match="'relu2'"):
        build_graph({"input": (4,)}, keys({"type": "relu", "name": "relu2"}, {"type": "relu"}))


def test_layers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"'conv2d1'.*\(4,\)"):
        build_graph({"input": (4,)}, keys({"type": "conv2d", "channels": 3, "kernel": 1}))


def test_several_inputs_have_names() -> None:
    graph = build_graph(
        {"frames": (9, 4), "lengths": (), "words": (9,), "more": (9,)},
        keys(
            {"type": "gru", "units": 3, "inputs": ["frames", "lengths"]},
            {"type": "embedding", "count": 5, "features": 3, "inputs": ["words"]},
            {"type": "add", "inputs": ["gru1", "embedding1"]},
        ),
    )
    assert [(each.name, each.shape, each.integer) for each in graph.inputs] == [
        ("frames", (9, 4), False),
        ("lengths", (), True),
        ("words", (9,), True),
        ("more", (9,), False),
    ]
    assert [node.inputs for node in graph.nodes] == [("frames", "lengths"), ("words",), ("gru1", "embedding1")]


def test_a_table_at_the_beginning_takes_whole_numbers() -> None:
    graph = build_graph({"input": (9,)}, keys({"type": "embedding", "count": 5, "features": 3}))
    assert graph.inputs[0].integer
    assert not build_graph({"input": (9,)}, keys({"type": "relu"})).inputs[0].integer


@pytest.mark.parametrize("value", [{}, [], [0], {"frames": [0]}, {"a b": [1]}, 5, None])
def test_shapes_that_no_input_has(value: object) -> None:
    with pytest.raises(ValidationError):
        EVERY.model_validate({"input": value, "layers": [{"type": "relu"}]})


@pytest.mark.parametrize(
    "layer",
    [
        {"type": "dropout"},
        {"type": "relu", "slope": 1},
        {"type": "linear"},
        {"type": "linear", "units": 0},
        {"type": "conv2d", "channels": 4, "kernel": 3, "padding": -1},
        {"type": "conv2d", "channels": 4, "kernel": 3, "bias": "yes"},
        {"type": "relu", "name": "a.b"},
    ],
    ids=str,
)
def test_keys_that_make_no_layer(layer: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        keys(layer)
