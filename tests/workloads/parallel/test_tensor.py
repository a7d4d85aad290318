"""Which layers a tensor group divides, and where its ranks exchange numbers."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.graph import Graph
from nnlib.layers.activation import ReLU
from nnlib.layers.linear import Linear
from sim.problems import BadInput
from tests.nnlib.batches import classifier
from tests.workloads.parallel.networks import network
from workloads.parallel.exchange import CopyIn, GatherOut, ScatterOut, SumOut
from workloads.parallel.pieces import join
from workloads.parallel.tensor import Division, divide, exchanges


def names(division: Division) -> list[str]:
    return [f"{type(each).__name__} {each.name}" for each in exchanges(division.graph)]


def test_a_block_of_a_transformer_has_two_sums_forward_and_two_backward() -> None:
    """As Shoeybi et al. 2019 have it: one after attention, one after the two linear layers."""
    block = [name for name in names(divide(network("gpt2"), 2)) if "layer1" in name]
    assert block == [
        "CopyIn layer1_norm1:copy",
        "SumOut layer1_attention:sum",
        "CopyIn layer1_norm2:copy",
        "SumOut layer1_fc2:sum",
    ]


def test_ranks_hold_equal_parts() -> None:
    """Columns, then rows; the last bias is everyone's, and every number of a divided layer is somebody's."""
    model = classifier(Graph.chain((6,), [Linear("a", 8), ReLU("r"), Linear("b", 5)]))
    division = divide(model, 4)
    shapes = division.graph.parameters
    assert shapes == {"a.weight": (6, 2), "a.bias": (2,), "b:part.weight": (2, 5), "b.value": (5,)}
    assert {name: piece.full for name, piece in division.pieces.items()} == {
        "a.weight": "a.weight",
        "a.bias": "a.bias",
        "b:part.weight": "b.weight",
        "b.value": "b.bias",
    }
    assert names(division) == ["SumOut b:sum"]
    assert division.replicated == {}


def test_convolutions_hand_on_parts_of_their_channels() -> None:
    """From the first to the last one nothing is whole: sums are divided again; the classifier's input is summed up."""
    division = divide(network("resnet"), 2)
    kinds = [type(each).__name__ for each in exchanges(division.graph)]
    assert kinds == ["ScatterOut"] * 19 + ["SumOut"]
    assert division.graph.shapes["block5_2_add"] == (1, 1, 16)
    assert division.graph.shapes["block5_2_conv2:part"] == (1, 1, 32)


def test_what_cannot_be_divided_is_computed_by_all_and_named() -> None:
    """Three ranks divide a vocabulary, but neither four heads nor 64 channels."""
    replicated = divide(network("gpt2"), 3).replicated
    assert replicated["layer1_attention"] == "3 ranks do not divide its 4 heads"
    assert replicated["layer2_fc1"] == "3 ranks do not divide its 64 output channels"
    assert "logits" not in replicated
    assert divide(network("gpt2"), 1).replicated == {}


def test_a_table_and_the_product_that_shares_it_are_divided_by_rows() -> None:
    """37 words on two ranks are 19 rows each; the last one is zeros and is left out of the gathered logits."""
    division = divide(network("gpt2"), 2)
    assert division.graph.parameters["word.weight"] == (19, 16)
    assert division.graph.shapes["logits"] == (6, 19)
    assert division.graph.shapes["logits:whole"] == (6, 37)
    table = np.arange(37 * 16, dtype=np.float64).reshape(37, 16)
    parts = [division.pieces["word.weight"].of(table, ways=2, rank=rank) for rank in range(2)]
    assert not parts[1][18].any()
    joined = join([{"word.weight": part} for part in parts], division.pieces, {"word.weight": table})
    np.testing.assert_array_equal(joined["word.weight"], table)


def test_a_classifier_gathers_its_parts_for_the_loss() -> None:
    model = classifier(Graph.chain((6,), [Linear("a", 8)]))
    division = divide(model, 2)
    assert names(division) == ["GatherOut a:whole"]
    assert division.models[0].losses[0].outputs == ("a:whole",)


def test_what_an_exchange_carries() -> None:
    kinds = {
        type(each).__name__: (each.forward_kind, each.backward_kind)
        for each in (CopyIn("a"), SumOut("b"), GatherOut("c", ((0, 4),), 2), ScatterOut("d", ((0, 4),), 2))
    }
    assert kinds == {
        "CopyIn": (None, "all_reduce"),
        "SumOut": ("all_reduce", None),
        "GatherOut": ("all_gather", None),
        "ScatterOut": ("reduce_scatter", "all_gather"),
    }


@pytest.mark.parametrize(
    ("ways", "expected"), [(3, "'a', cannot be, as 3 ranks do not divide its 8 output channels; take tensor=1")]
)
def test_a_model_of_which_no_layer_can_be_divided_is_refused(ways: int, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        divide(classifier(Graph.chain((6,), [Linear("a", 8), ReLU("r"), Linear("b", 5)])), ways)
