"""What is said of a step whose time goes mostly into one thing."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.bottleneck import inference_bottleneck, node_bottleneck, training_bottleneck

NODE = {"busiest": "gemm of linear1 (forward)", "launches": 35, "launch_seconds": 22e-6}
NETWORK = {"nodes": 4096, "ranks": 16384, "gradient_bytes": 437_200, "collective": "halving_doubling_far"}
OTHERS = {"launch": 0.1, "compute": 0.1, "dma_wait": 0.1, "mesh_wait": 0.1, "imbalance": 0.1, "group_sync": 0.1}

WORDS = [
    ("launch", ["kernel launches: 35 launches of 22 us each", "40 % of the step"]),
    ("compute", ["compute: the CPEs' pipelines are busy 40 % of the step", "gemm of linear1 (forward)"]),
    ("dma_wait", ["memory: CPEs wait for DMA 40 % of the step", "gemm of linear1 (forward)"]),
    ("mesh_wait", ["register communication:", "40 % of the step", "gemm of linear1 (forward)"]),
    ("imbalance", ["idle CPEs: too little work", "gemm of linear1 (forward)", "40 % of the step"]),
    ("group_sync", ["synchronisation of the core groups of a chip: 40 % of the step"]),
]


def shares(largest: str, value: float = 0.4, **more: float) -> dict[str, float]:
    return {**OTHERS, "communication_exposed": 0.0, **more, largest: value}


def check(text: str, words: list[str]) -> None:
    assert "\n" not in text
    for each in words:
        assert each in text


@pytest.mark.parametrize(("largest", "words"), WORDS)
def test_the_largest_share_in_words(largest: str, words: list[str]) -> None:
    node: dict[str, Any] = dict(NODE)
    check(node_bottleneck(shares=shares(largest), **node), words)
    check(training_bottleneck(shares=shares(largest), **node, **NETWORK), words)
    texts = {node_bottleneck(shares=shares(name), **node) for name, _ in WORDS}
    assert len(texts) == len(WORDS)


@pytest.mark.parametrize(("largest", "words"), WORDS)
def test_inference_inside_a_node(largest: str, words: list[str]) -> None:
    node: dict[str, Any] = dict(NODE)
    check(inference_bottleneck(shares=shares(largest, requests=0.2), **node), [words[0].split(":")[0]])


def test_exposed_communication() -> None:
    node: dict[str, Any] = dict(NODE)
    text = training_bottleneck(shares=shares("communication_exposed", 0.456), **node, **NETWORK)
    check(text, ["communication:", "halving-doubling-far", "437 KB", "16,384 ranks", "4,096 nodes", "46 % of the step"])


def test_requests_that_take_longer_than_their_answers() -> None:
    node: dict[str, Any] = dict(NODE)
    text = inference_bottleneck(shares=shares("requests", 0.7), **node)
    check(text, ["network:", "requests and answers", "70 % of a batch's time"])
