"""Stages and the order of their micro-batches."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.graph import Graph
from nnlib.layers.activation import ReLU
from nnlib.layers.linear import Linear
from tests.workloads.parallel.networks import network
from workloads.parallel.pipeline import Stages, Work, cut_into_stages, heaviest, in_flight, one_forward_one_backward


def chain(count: int) -> Graph:
    return Graph.chain((4,), [ReLU(f"r{number}") for number in range(count)])


def order(stages: int, stage: int, micro_batches: int) -> str:
    works = one_forward_one_backward(stages=stages, stage=stage, micro_batches=micro_batches)
    return " ".join(f"{work.kind[0]}{work.micro_batch}" for work in works)


def test_the_order_of_four_stages() -> None:
    """Narayanan et al. 2019, figure 8."""
    assert order(4, 0, 6) == "f0 f1 f2 f3 b0 f4 b1 f5 b2 b3 b4 b5"
    assert order(4, 2, 4) == "f0 f1 b0 f2 b1 f3 b2 b3"
    assert order(4, 3, 3) == "f0 b0 f1 b1 f2 b2"
    assert order(4, 0, 2) == "f0 f1 b0 b1"
    assert order(1, 0, 2) == "f0 b0 f1 b1"


@given(st.integers(1, 9), st.integers(1, 20), st.data())
def test_every_micro_batch_passes_once_each_way_and_few_are_in_flight(
    stages: int, parts: int, data: st.DataObject
) -> None:
    stage = data.draw(st.integers(0, stages - 1))
    works = one_forward_one_backward(stages=stages, stage=stage, micro_batches=parts)
    assert sorted(works) == sorted(Work(kind, number) for kind in ("forward", "backward") for number in range(parts))
    held = np.cumsum([1 if work.kind == "forward" else -1 for work in works])
    assert held.max() == in_flight(stages=stages, stage=stage, micro_batches=parts)


@settings(max_examples=60)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=9), st.data())
def test_the_heaviest_stage_is_as_light_as_can_be(weights: list[float], data: st.DataObject) -> None:
    """Against all cuts there are."""
    count = data.draw(st.integers(1, len(weights)))
    graph = chain(len(weights))
    found = cut_into_stages(graph, weights, count)
    assert found.count == count
    assert all(found.nodes(stage) for stage in range(count))
    every = (Stages(graph, (0, *cuts, len(weights))) for cuts in combinations(range(1, len(weights)), count - 1))
    best = min(heaviest(each, weights) for each in every)
    assert heaviest(found, weights) == pytest.approx(best, rel=1e-12, abs=1e-12)


def test_equal_cuts_are_made_where_fewest_numbers_cross() -> None:
    """The ReLUs weigh nothing: the cut is at the narrow layer."""
    graph = Graph.chain(
        (8,), [Linear("a", 64), ReLU("r1"), Linear("b", 2), ReLU("r2"), Linear("c", 64), Linear("d", 8)]
    )
    stages = cut_into_stages(graph, [1, 0, 1, 0, 1, 1], 2)
    assert [node.name for node in stages.nodes(0)] == ["a", "r1", "b"]
    assert stages.crossing == (("b",),)
    assert stages.crossing_elements(0) == 2


def test_tensors_pass_through_stages_that_do_not_take_them() -> None:
    """BERT's first vector goes to the loss from the middle of the network on; tied weights are in both stages."""
    graph = network("bert").training
    stages = cut_into_stages(graph, [1.0] * len(graph.nodes), 8)
    assert any("follows" in names for names in stages.crossing) or stages.of["follows"] == 7
    assert "word.weight" in stages.parameters[0]
    assert "word.weight" in stages.parameters[stages.of["masked"]]


def test_more_stages_than_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="4 stages of 3 layers"):
        cut_into_stages(chain(3), [1.0] * 3, 4)
