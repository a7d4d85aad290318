"""Lowering: which kernels a graph becomes, in which order and on which buffers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from nnlib.graph import INPUT, Graph
from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import Layer
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.lowering import lower_forward, lower_gradients
from nnlib.precision import DTypeName
from nnlib.program import Program
from tests.nnlib.batches import classifier
from workloads.load import load_workload


@pytest.fixture(scope="module")
def digits() -> Graph:
    return load_workload("digits").model.built.graph


FORWARD = [
    ("conv2d1", "im2col"),
    ("conv2d1", "gemm"),
    ("conv2d1", "bias_add"),
    ("relu1", "relu"),
    ("maxpool1", "max_pool"),
    ("conv2d2", "im2col"),
    ("conv2d2", "gemm"),
    ("conv2d2", "bias_add"),
    ("relu2", "relu"),
    ("maxpool2", "max_pool"),
    ("linear1", "gemm"),
    ("linear1", "bias_add"),
    ("relu3", "relu"),
    ("linear2", "gemm"),
    ("linear2", "bias_add"),
]
BACKWARD = [
    ("linear2", {"gemm", "column_sum"}),
    ("relu3", {"relu_gradient"}),
    ("linear1", {"gemm", "column_sum"}),
    ("maxpool2", {"max_pool_gradient"}),
    ("relu2", {"relu_gradient"}),
    ("conv2d2", {"gemm", "column_sum", "col2im"}),
    ("maxpool1", {"max_pool_gradient"}),
    ("relu1", {"relu_gradient"}),
    ("conv2d1", {"gemm", "column_sum"}),
]


def names(program: Program) -> list[tuple[str, str]]:
    return [(launch.layer, launch.kernel.name) for launch in program.launches]


def test_forward_launches_in_order(digits: Graph) -> None:
    program = lower_forward(graph=digits, batch=4, dtype="fp64")
    assert names(program) == FORWARD
    assert {launch.phase for launch in program.launches} == {"forward"}
    assert program.buffers["linear2"].shape == (4, 10)


def test_gradients_launch_backwards_after_the_loss(digits: Graph) -> None:
    program = lower_gradients(model=classifier(digits), batch=4, dtype="fp64")
    assert names(program)[:16] == [*FORWARD, ("loss", "softmax_cross_entropy")]
    backward = program.launches[16:]
    assert {launch.phase for launch in program.launches[:16]} == {"forward"}
    assert {launch.phase for launch in backward} == {"backward"}
    layers = list(dict.fromkeys(launch.layer for launch in backward))
    kernels = [{launch.kernel.name for launch in backward if launch.layer == layer} for layer in layers]
    assert list(zip(layers, kernels, strict=True)) == BACKWARD
    # weight and input gradient, but the first layer has no use for the latter
    gemms = {layer: sum(name == (layer, "gemm") for name in names(program)[16:]) for layer in layers}
    assert (gemms["linear2"], gemms["linear1"], gemms["conv2d2"], gemms["conv2d1"]) == (2, 2, 2, 1)
    assert f"grad:{INPUT}" not in program.buffers


@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
def test_every_parameter_has_its_gradient(digits: Graph, dtype: DTypeName) -> None:
    program = lower_gradients(model=classifier(digits), batch=3, dtype=dtype)
    assert program.dtype == dtype
    assert {launch.kernel.dtype for launch in program.launches} == {dtype}
    gradients = {name: buffer.shape for name, buffer in program.buffers.items() if buffer.role == "gradient"}
    assert gradients == {f"grad:{name}": shape for name, shape in digits.parameters.items()}
    parameters = {name: buffer.shape for name, buffer in program.buffers.items() if buffer.role == "parameter"}
    assert parameters == digits.parameters
    inputs = {name: buffer.shape for name, buffer in program.buffers.items() if buffer.role == "input"}
    assert inputs == {INPUT: (3, 8, 8, 1), "target:label": (3,), "shares:0": (3, 1)}


def test_nothing_is_read_before_it_is_written(digits: Graph) -> None:
    program = lower_gradients(model=classifier(digits), batch=4, dtype="fp64")
    known = {name for name, buffer in program.buffers.items() if buffer.role in ("input", "parameter")}
    for number, launch in enumerate(program.launches):
        for parameter in launch.kernel.parameters():
            assert parameter.use == "out" or launch.arguments[parameter.name] in known, (launch.layer, parameter)
        known |= {launch.arguments[parameter.name] for parameter in launch.kernel.parameters() if parameter.use != "in"}
        for name in launch.arguments.values():
            assert program.buffers[name].first <= number <= program.buffers[name].last
    assert known == set(program.buffers)


def test_each_launch_needs_its_predecessors_only(digits: Graph) -> None:
    needs = lower_forward(graph=digits, batch=4, dtype="fp64").dependences()
    assert needs == (frozenset(), *(frozenset({number}) for number in range(len(FORWARD) - 1)))


def test_flatten_is_another_name(digits: Graph) -> None:
    program = lower_gradients(model=classifier(digits), batch=4, dtype="fp64")
    gemm = next(launch for launch in program.launches if (launch.layer, launch.kernel.name) == ("linear1", "gemm"))
    pool = next(launch for launch in program.launches if launch.kernel.name == "max_pool_gradient")
    assert gemm.arguments["a"] == "maxpool2"
    assert {"flatten1", "grad:maxpool2"}.isdisjoint(program.buffers)
    assert pool.arguments["grad_y"] == "grad:flatten1"


def test_the_high_water_mark_of_a_small_chain_by_hand() -> None:
    graph = Graph.chain((3,), [Linear("l", 2), ReLU("r")])
    program = lower_gradients(model=classifier(graph), batch=4, dtype="fp64")
    lives = {name: (each.first, each.last) for name, each in program.buffers.items() if each.role == "activation"}
    # gemm, bias_add, relu, loss, relu_gradient, gemm and column_sum in either order
    assert lives == {"l": (0, 2), "r": (2, 4), "loss:0": (3, 6), "grad:r": (3, 4), "grad:l": (4, 6)}
    # always: input 12, weight 6, bias 2, their gradients 8, labels and shares 8; at launch 4: r, grad:r and grad:l, 8
    # each, and the losses 4
    assert program.memory_bytes == (12 + 6 + 2 + 8 + 8 + 3 * 8 + 4) * 8
    # forward alone: input and parameters, and l and r at launch 2
    assert lower_forward(graph=graph, batch=4, dtype="fp32").memory_bytes == (12 + 6 + 2 + 8 + 8) * 4


def test_buffers_begin_at_the_machines_alignment(digits: Graph) -> None:
    program = lower_gradients(model=classifier(digits), batch=3, dtype="fp32", alignment=512)
    buffers = sorted(program.buffers.values(), key=lambda buffer: buffer.address)
    assert all(buffer.address % 512 == 0 for buffer in buffers)
    assert len({buffer.address for buffer in buffers}) == len(buffers)


def test_without_bias_there_are_no_bias_kernels() -> None:
    layers = [Conv2d("c", 2, (2, 2), bias=False), Flatten("f"), Linear("l", 3, bias=False)]
    program = lower_gradients(model=classifier(Graph.chain((3, 3, 1), layers)), batch=2, dtype="fp64")
    assert {"bias_add", "column_sum"}.isdisjoint(name for _, name in names(program))


@pytest.mark.parametrize("first", [ReLU("first"), MaxPool("first", (2, 2), 2), Flatten("first")], ids=str)
def test_a_first_layer_without_parameters_launches_nothing_backwards(first: ReLU | MaxPool | Flatten) -> None:
    graph = Graph.chain((4, 4, 1), [first, Flatten("f"), Linear("l", 3)])
    program = lower_gradients(model=classifier(graph), batch=2, dtype="fp64")
    assert "first" not in {launch.layer for launch in program.launches if launch.phase == "backward"}


def test_nobody_computes_a_gradient_that_no_parameter_needs() -> None:
    layers = [MaxPool("pool", (2, 2), 2), Flatten("f"), Linear("first", 3), ReLU("r"), Linear("last", 2)]
    graph = Graph.chain((4, 4, 1), layers)
    program = lower_gradients(model=classifier(graph), batch=2, dtype="fp64")
    backwards = [(launch.layer, launch.kernel.name) for launch in program.launches if launch.phase == "backward"]
    assert [name for layer, name in backwards if layer == "first"] == ["gemm", "column_sum"]
    assert [name for layer, name in backwards if layer == "last"] == ["gemm", "column_sum", "gemm"]
    assert graph.learned == {"first", "r", "last"}


def test_the_output_of_a_graph_that_ends_with_flatten_has_a_buffer() -> None:
    graph = Graph.chain((3, 3, 1), [Conv2d("c", 5, (3, 3)), Flatten("f")])
    program = lower_forward(graph=graph, batch=2, dtype="fp64")
    assert program.buffer("f") is program.buffers["c"]


@pytest.mark.parametrize("name", ["targets", "loss"])
def test_a_layer_may_have_any_name_that_its_keys_allow(name: str) -> None:
    graph = Graph.chain((3,), [Linear("l", 2), ReLU(name)])
    program = lower_gradients(model=classifier(graph), batch=4, dtype="fp64")
    assert [launch.kernel.name for launch in program.launches][:4] == [
        "gemm",
        "bias_add",
        "relu",
        "softmax_cross_entropy",
    ]


def test_a_layer_without_kernels_is_named() -> None:
    @dataclass(frozen=True)
    class Stranger(Layer):
        def output_shape(self, input_shapes: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
            return input_shapes[0]

    graph = Graph.chain((3,), [Stranger("odd")])
    with pytest.raises(NotImplementedError, match="'odd' of type Stranger"):
        lower_forward(graph=graph, batch=1, dtype="fp64")
