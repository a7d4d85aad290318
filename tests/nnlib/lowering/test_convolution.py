"""Convolutions and linear layers lowered: the core group's tiles give what the layers give."""

from __future__ import annotations

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.graph import INPUT, Graph, Input, Node
from nnlib.layers.arrangement import Flatten
from nnlib.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.layer import Layer
from nnlib.layers.linear import Linear
from nnlib.lowering import lower_forward, lower_gradients
from nnlib.precision import DTYPES, DTypeName
from sim.machine.load import load_machine
from tests.nnlib.batches import classifier, labelled
from tests.nnlib.kernels.tiles import relative_error

TOLERANCE: dict[DTypeName, float] = {"fp64": 1e-12, "fp32": 1e-4}

IMAGES: dict[str, Layer] = {
    "every option": Conv2d("x", 6, (3, 2), (2, 1), (1, 0, 2, 1), True, (1, 2)),
    "one tap": Conv2d("x", 5, (1, 1)),
    "one tap with strides": Conv2d("x", 5, (1, 1), 2),
    "groups": Conv2d("x", 6, (3, 3), 1, 1, False, groups=2),
    "groups of one tap": Conv2d("x", 9, (1, 1), groups=3),
    "depthwise": Conv2d("x", 12, (3, 3), 2, 1, groups=12),
    "depthwise with a multiplier": Conv2d("x", 24, (2, 3), groups=12),
    "transposed": ConvTranspose2d("x", 5, (3, 3), 2, 1, 1),
    "transposed, every option": ConvTranspose2d("x", 5, (2, 3), (3, 1), (0, 1, 1, 0), (2, 0), False, (1, 2)),
    "transposed groups": ConvTranspose2d("x", 6, (4, 4), 2, 1, groups=3),
    "transposed depthwise": ConvTranspose2d("x", 12, (4, 4), 2, 1, groups=12),
    "transposed, one tap": ConvTranspose2d("x", 4, (1, 1)),
    "linear": Linear("x", 4),
    "linear, transposed": Linear("x", 4, False, True),
}
SEQUENCES: dict[str, Layer] = {
    "sequence": Conv1d("x", 6, 3, 2, (2, 0)),
    "sequence in groups": Conv1d("x", 8, 5, 1, 2, False, 2, 4),
    "transposed sequence": ConvTranspose1d("x", 6, 4, 2, 1),
}


def around(layer: Layer, shape: tuple[int, ...]) -> Graph:
    """A convolution before the layer, so that its gradient by the input is needed, and classes behind it."""
    before = Conv2d("before", 12, (2, 2)) if len(shape) == 3 else Conv1d("before", 12, 2)
    return Graph.chain(shape, [before, layer, Flatten("flat"), Linear("classes", 3)])


GRAPHS = {name: around(layer, (6, 7, 2)) for name, layer in IMAGES.items()} | {
    name: around(layer, (11, 3)) for name, layer in SEQUENCES.items()
}
QUICK = ("every option", "groups", "depthwise", "transposed groups", "sequence", "linear, transposed")


def check_tiles_are_layers(graph: Graph, dtype: DTypeName, *, samples: int = 2) -> None:
    """Training and inference of more samples than are lowered at a time."""
    model, number = classifier(graph), DTYPES[dtype]
    host, device = HostDevice(model), CoreGroupDevice(model, samples, dtype, load_machine(DEFAULT_MACHINE).processor)
    rng = np.random.default_rng(4)
    variables = {name: rng.standard_normal(shape).astype(number) / 2 for name, shape in graph.parameters.items()}
    images = rng.standard_normal((3, *graph.shapes[INPUT])).astype(number)
    batch, weights = labelled(images, rng.integers(0, 3, 3)), rng.random(3).astype(number)
    found = device.gradients(variables=variables, batch=batch, weights=weights)
    expected = host.gradients(variables=variables, batch=batch, weights=weights)
    assert found.loss == pytest.approx(expected.loss, rel=TOLERANCE[dtype])
    assert found.parameters.keys() == expected.parameters.keys() == variables.keys()
    for name, gradient in expected.parameters.items():
        assert found.parameters[name].dtype == number
        assert relative_error(found.parameters[name], gradient) <= TOLERANCE[dtype], name
    outputs, logits = (each.outputs(variables=variables, inputs={INPUT: images}) for each in (device, host))
    assert relative_error(outputs["classes"], logits["classes"]) <= TOLERANCE[dtype]


@pytest.mark.numeric
@pytest.mark.parametrize("name", QUICK)
def test_tiles_are_the_layers(name: str) -> None:
    check_tiles_are_layers(GRAPHS[name], "fp64")


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", GRAPHS)
def test_tiles_are_the_layers_of_every_kind(name: str, dtype: DTypeName) -> None:
    check_tiles_are_layers(GRAPHS[name], dtype)


LARGE = ("every option", "groups", "transposed", "transposed groups", "sequence", "one tap")


@pytest.mark.numeric
@pytest.mark.parametrize("name", LARGE)
def test_large_columns_are_made_part_by_part(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnlib.lowering.columns.COLUMN_BYTES", 1)
    check_tiles_are_layers(GRAPHS[name], "fp64")
    names = [kernel for _, kernel in kernels(name)]
    assert ("convolution" in names or "convolution_input_gradient" in names) == (name != "one tap")


@pytest.mark.numeric
@pytest.mark.parametrize("name", ["groups", "transposed"])
def test_large_columns_of_one_sample_are_made_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnlib.lowering.columns.COLUMN_BYTES", 1)
    check_tiles_are_layers(GRAPHS[name], "fp64", samples=1)


def test_large_columns_are_not_kept() -> None:
    """Of 16 images of 128 × 128 pixels under 9 taps of 32 channels the columns take 0.6 GB in fp64, of four 0.15 GB."""
    layers = [Conv2d("before", 32, (1, 1)), Conv2d("x", 4, (3, 3), padding=1), Flatten("flat"), Linear("classes", 3)]
    graph = Graph.chain((128, 128, 3), layers)
    program = lower_gradients(model=classifier(graph), batch=16, dtype="fp64")
    assert program.buffers["x.cols"].shape == (4 * 128 * 128, 9 * 32)
    assert program.memory_bytes < 16 * 128 * 128 * 9 * 32 * 8


def test_columns_of_one_sample_are_made_again_too_if_they_are_large() -> None:
    """Of one image of 256 × 256 pixels 0.6 GB under 9 taps of 128 channels: no more memory than for two such images."""
    layers = [Conv2d("before", 128, (1, 1)), Conv2d("x", 1, (3, 3), padding=1), Flatten("flat"), Linear("classes", 3)]
    model = classifier(Graph.chain((256, 256, 3), layers))
    one, two = (lower_gradients(model=model, batch=batch, dtype="fp64") for batch in (1, 2))
    assert one.buffers["x.cols"].shape == two.buffers["x.cols"].shape == (256 * 256, 9 * 128)
    assert one.memory_bytes < two.memory_bytes
    assert one.certain_bytes < two.certain_bytes < two.memory_bytes


@pytest.mark.slow
@pytest.mark.numeric
def test_gradients_of_a_fan_out_meet() -> None:
    graph = Graph(
        (Input(INPUT, (6, 6, 2)),),
        (
            Node(Conv2d("first", 4, (3, 3), padding=1), (INPUT,)),
            Node(Conv2d("one", 4, (3, 3), padding=1, groups=4), ("first",)),
            Node(ConvTranspose2d("two", 4, (3, 3), 1, 1), ("one",)),
            Node(Conv2d("again", 4, (1, 1)), ("first",)),
            Node(Linear("along", 2), ("again",)),
            Node(Conv2d("last", 3, (6, 6), bias=False), ("two",)),
            Node(Flatten("classes"), ("last",)),
        ),
        outputs=("classes", "along"),
    )  # fmt: skip
    check_tiles_are_layers(graph, "fp64")


def kernels(name: str, layer: str = "x") -> list[tuple[str, str]]:
    program = lower_gradients(model=classifier(GRAPHS[name]), batch=2, dtype="fp64")
    return [(launch.phase, launch.kernel.name) for launch in program.launches if launch.layer == layer]


def test_a_single_tap_needs_no_columns() -> None:
    assert kernels("one tap") == [
        ("forward", "gemm"),
        ("forward", "bias_add"),
        ("backward", "gemm"),
        ("backward", "column_sum"),
        ("backward", "gemm"),
    ]
    assert ("forward", "im2col") in kernels("one tap with strides")


def test_channels_by_themselves_need_no_products() -> None:
    assert kernels("depthwise") == [
        ("forward", "depthwise"),
        ("forward", "bias_add"),
        ("backward", "depthwise_weight_gradient"),
        ("backward", "column_sum"),
        ("backward", "depthwise_input_gradient"),
    ]


def test_groups_are_launched_together() -> None:
    assert kernels("groups") == [
        ("forward", "grouped_im2col"),
        ("forward", "grouped_gemm"),
        ("backward", "grouped_gemm"),
        ("backward", "grouped_gemm"),
        ("backward", "grouped_col2im"),
    ]


def test_a_transposed_convolution_gathers_once_for_both_gradients() -> None:
    names = kernels("transposed")
    assert names[:4] == [
        ("forward", "transpose"),
        ("forward", "gemm"),
        ("forward", "col2im"),
        ("forward", "bias_add"),
    ]
    assert [name for _, name in names[4:]].count("im2col") == 1


def test_inference_is_lowered_without_gradients() -> None:
    program = lower_forward(graph=GRAPHS["transposed depthwise"], batch=2, dtype="fp32")
    assert {launch.phase for launch in program.launches} == {"forward"}
