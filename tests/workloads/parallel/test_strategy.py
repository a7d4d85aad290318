"""What a strategy is, and how it is asked for."""

from __future__ import annotations

import pytest

from sim.problems import BadInput
from workloads.parallel.strategy import Strategy, parse_strategy


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("data", Strategy()),
        ("tensor=4", Strategy(tensor=4)),
        ("tensor=4,pipeline=8", Strategy(tensor=4, pipeline=8)),
        ("data, pipeline=2,micro_batches=6", Strategy(pipeline=2, micro_batches=6)),
        ("optimizer_sharding", Strategy(optimizer_sharding=True)),
        ("optimizer_sharding=false,tensor=1", Strategy()),
    ],
)
def test_words(text: str, strategy: Strategy) -> None:
    assert parse_strategy(text) == strategy
    assert parse_strategy(str(strategy)) == strategy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tensr=4", "did you mean 'tensor'"),
        ("tensor=0", "a whole number from 1 on"),
        ("tensor", "a whole number from 1 on"),
        ("tensor=2,tensor=4", "tensor only once"),
        ("optimizer_sharding=maybe", "=true or =false"),
        ("", "words such as data"),
    ],
)
def test_wrong_words(text: str, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        parse_strategy(text)


def test_all_wrong_words_are_reported() -> None:
    with pytest.raises(BadInput) as caught:
        parse_strategy("tensr=4,pipeline=x")
    assert len(caught.value.problems) == 2


def test_replicas_and_micro_batches() -> None:
    strategy = Strategy(tensor=2, pipeline=4)
    assert strategy.replicas(64) == 8
    assert [strategy.parts_of(samples) for samples in (64, 24, 7, 1)] == [16, 12, 7, 1]
    assert Strategy(tensor=2).parts_of(64) == 1
    # as many as keep all of a node's four core groups busy, unless waiting for other stages costs more
    assert [strategy.parts_of(samples, sharers=4) for samples in (64, 16, 8, 6)] == [16, 4, 2, 2]
    assert Strategy(pipeline=16).parts_of(32, sharers=4) == 8
    with pytest.raises(BadInput, match="a multiple of 8 ranks"):
        strategy.replicas(12)
    with pytest.raises(BadInput, match="a divisor of the 64 samples of a replica, such as 4"):
        Strategy(micro_batches=5).parts_of(64)


def test_settings_of_a_mapping() -> None:
    strategy = Strategy(tensor=2, optimizer_sharding=True)
    assert strategy.settings() == ("tensor=2", "pipeline=1", "micro_batches=null", "optimizer_sharding=true")
