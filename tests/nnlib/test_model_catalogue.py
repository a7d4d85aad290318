"""Parameters and multiply-accumulates of the library's models against published totals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from nnlib.graph import Graph
from nnlib.models.catalogue import MODELS
from workloads.load import list_workloads


@dataclass(frozen=True)
class Published:
    """``parameters`` as printed, in units of ``digit``; ``products``: 10⁹ multiply-accumulates, None if not printed."""

    parameters: float
    digit: float
    products: float | None


EXACT = 1.0
THOUSAND = 1e3
TEN_THOUSAND = 1e4

TOTALS: dict[str, tuple[str, dict[str, Any], Published]] = {
    # from the prototxt files of swCaffe (R-swCaffe)
    "alexnet_bn": ("alexnet_bn", {}, Published(60.967e6, THOUSAND, 0.7244)),
    "vgg16": ("vgg16", {}, Published(138.358e6, THOUSAND, 15.470)),
    "googlenet": ("googlenet", {}, Published(13.378e6, THOUSAND, 1.591)),
    "resnet50": ("resnet50", {}, Published(25.557e6, THOUSAND, 3.858)),
    # torchvision's tables
    "alexnet_one_tower": ("alexnet_one_tower", {}, Published(61_100_840, EXACT, 0.71)),
    "vgg16, torchvision": ("vgg16", {}, Published(138_357_544, EXACT, 15.47)),
    "vgg19": ("vgg19", {}, Published(143_667_240, EXACT, 19.63)),
    "googlenet_bn": ("googlenet_bn", {}, Published(6_624_904, EXACT, 1.51)),
    "resnet18": ("resnet18", {}, Published(11_689_512, EXACT, 1.814)),
    "resnet50, stride in 3x3": ("resnet50", {"stride_in": "3x3"}, Published(25_557_032, EXACT, 4.09)),
    "resnet101": ("resnet101", {"stride_in": "3x3"}, Published(44_549_160, EXACT, 7.80)),
    "mobilenet_v2": ("mobilenet_v2", {}, Published(3_504_872, EXACT, 0.300)),
    # Krizhevsky et al. 2012: "60 million parameters"; counted from Caffe's prototxt
    "alexnet": ("alexnet", {}, Published(60_965_224, EXACT, 0.7244)),
    # Hugging Face's BertForPreTraining and GPT2LMHeadModel
    "bert": ("bert", {}, Published(110_106_428, EXACT, None)),
    "gpt2": ("gpt2", {}, Published(124_439_808, EXACT, None)),
}


def products(graph: Graph) -> float:
    """Multiply-accumulates of a sample in 10⁹."""
    return sum(graph.multiply_accumulates.values()) / 1e9


@pytest.mark.parametrize("name", TOTALS)
def test_totals_are_the_published_ones(name: str) -> None:
    model, options, published = TOTALS[name]
    graph = MODELS[model](**options).graph
    assert abs(graph.parameter_count - published.parameters) <= published.digit / 2
    if published.products is not None:
        assert products(graph) == pytest.approx(published.products, rel=0.01)


def test_the_auxiliary_heads_of_googlenet_are_not_part_of_inference() -> None:
    graph = MODELS["googlenet"]().graph
    assert graph.inference.parameter_count == pytest.approx(6.998e6, abs=1e3)
    assert products(graph) - products(graph.inference) == pytest.approx(0.0084, rel=0.01)


def test_each_model_has_a_workload_of_its_name() -> None:
    assert set(MODELS) <= set(list_workloads())
