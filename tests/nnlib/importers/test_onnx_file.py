"""What of a file is refused, and what of it is learned."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nnlib.importers.onnx import Origin, load_onnx
from nnlib.layers.layer import Run
from sim.problems import BadInput
from tests.nnlib.importers.graphs import model, node, saved


def small(batch: int | str = "N") -> onnx.ModelProto:
    weights = {"w": np.arange(8, dtype=np.float32).reshape(2, 4), "b": np.ones(2, dtype=np.float32)}
    return model([node("Gemm", "x w b", "g", transB=1), node("Relu", "g")], {"x": (batch, 4)}, weights)


def refused(path: Path, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(BadInput) as caught:
        load_onnx(path, **options)
    return [(each.key, each.expected) for each in caught.value.problems]


def test_what_is_learned(tmp_path: Path) -> None:
    found = load_onnx(saved(tmp_path, small()))
    weight, bias = found.graph.parameters
    assert found.origins == {weight: Origin("w", (1, 0)), bias: Origin("b", (0,))}
    np.testing.assert_array_equal(found.variables[weight], np.arange(8).reshape(2, 4).T)
    assert found.outputs == {"y": found.graph.output}


def test_what_is_computed_beforehand_is_not_learned(tmp_path: Path) -> None:
    weights = {"w": np.ones((4, 2), dtype=np.float32), "c": np.full(1, 2, dtype=np.float32)}
    proto = model([node("Mul", "w c", "v"), node("MatMul", "x v")], {"x": ("N", 4)}, weights)
    found = load_onnx(saved(tmp_path, proto))
    assert not found.graph.parameters
    assert [array.tolist() for array in found.variables.values()] == [[[2.0, 2.0]] * 4]


def test_one_initialiser_taken_twice_is_one_parameter(tmp_path: Path) -> None:
    weights = {"w": np.ones((4, 4), dtype=np.float32)}
    proto = model([node("MatMul", "x w", "a"), node("MatMul", "a w")], {"x": ("N", 4)}, weights)
    assert len(load_onnx(saved(tmp_path, proto)).graph.parameters) == 1
    proto = model([node("MatMul", "x w", "a"), node("Add", "a w")], {"x": ("N", 4, 4)}, weights)
    assert len(load_onnx(saved(tmp_path, proto)).graph.parameters) == 1
    turned = [node("Transpose", "w", "t"), node("MatMul", "x w", "a"), node("Add", "a t")]
    ((key, text),) = refused(saved(tmp_path, model(turned, {"x": ("N", 4, 4)}, weights)))
    assert key == "add_y"
    assert "could not learn as one" in text


def test_infinities_are_not_learned(tmp_path: Path) -> None:
    mask = np.where(np.tril(np.ones((3, 3))) > 0, 0, -np.inf).astype(np.float32)
    proto = model([node("Add", "x m", "a"), node("Softmax", "a")], {"x": ("N", 3, 3)}, {"m": mask})
    found = load_onnx(saved(tmp_path, proto))
    assert not found.graph.parameters
    x = np.zeros((1, 3, 3), dtype=np.float32)
    (y,) = found.graph.predict(found.variables, {"x": x}).values()
    np.testing.assert_allclose(y[0, 1], [0.5, 0.5, 0])


def test_batch_normalisation_follows_the_batch_in_training(tmp_path: Path) -> None:
    ones, zeros = np.ones(4, dtype=np.float32), np.zeros(4, dtype=np.float32)
    arrays = {"s": ones, "b": zeros, "m": ones, "v": ones}
    proto = model([node("BatchNormalization", "x s b m v", momentum=0.75)], {"x": ("N", 4)}, arrays)
    found = load_onnx(saved(tmp_path, proto))
    x = np.random.default_rng(0).normal(3, 2, size=(5, 4)).astype(np.float32)
    done = found.graph.forward(found.variables, {"x": x}, run=Run(training=True))
    np.testing.assert_allclose(done.outputs[found.graph.output].mean(0), 0, atol=1e-6)
    mean = next(array for name, array in done.statistics.items() if name.endswith("mean"))
    np.testing.assert_allclose(mean, 0.75 + 0.25 * x.mean(0), rtol=1e-6)


def test_all_unsupported_operators_are_named_at_once(tmp_path: Path) -> None:
    nodes = [
        node("Sin", "x", "a"),
        node("Det", "a", "b"),
        node("Sin", "x", "c"),
        node("Own", "c", "d", domain="my.own"),
        node("Pow", "x e", "f"),
        node("Sum", "b d f"),
    ]
    proto = model(nodes, {"x": ("N", 4)}, {"e": np.array(2.5, dtype=np.float32)}, domains=["my.own"])
    assert refused(saved(tmp_path, proto)) == [
        ("sin_a, sin_c", "only supported operators; Sin is not one of them"),
        ("det_b", "only supported operators; Det is not one of them"),
        ("own_d", "only supported operators; my.own.Own is not one of them"),
        ("pow_f", "a use of Pow that is supported: its exponent is 2.5; -1, 0.5, 2 and 3 are known"),
    ]


@pytest.mark.parametrize(
    ("nodes", "arrays", "text"),
    [
        ([node("Reshape", "x s")], {"s": np.array([2, -1])}, "moves numbers between samples"),
        ([node("ReduceMean", "x", axes=[0])], {}, "works along the batch"),
        ([node("Softmax", "x", axis=0)], {}, "works along the batch"),
        ([node("Transpose", "x", perm=[1, 0])], {}, "the batch in front"),
        ([node("MatMul", "x w")], {"w": np.ones((3, 3), dtype=np.float32)}, "(3, 3)"),
        ([node("Tile", "x r")], {"r": np.array([1, 2**40])}, "it repeats"),
        ([node("Squeeze", "x a")], {"a": np.array([0])}, "it removes the axes"),
    ],
)
def test_uses_that_are_not_supported(
    nodes: list[onnx.NodeProto], arrays: dict[str, Any], text: str, tmp_path: Path
) -> None:
    graph = model([*nodes, node("Relu", "y", "z")], {"x": ("N", 4)}, arrays, outputs=["z"])
    ((_, found),) = refused(saved(tmp_path, graph))
    assert text in found


def test_open_axes_want_a_length(tmp_path: Path) -> None:
    proto = model([node("Add", "x z")], {"x": ("N", "T", 4), "z": ("N", None, 4)})
    path = saved(tmp_path, proto)
    assert refused(path) == [
        ("x", "a length for axis 1 of this input; give --shape T=LENGTH"),
        ("z", "a length for axis 1 of this input; give --shape z.1=LENGTH"),
    ]
    found = load_onnx(path, shapes={"T": 5, "z.1": 5})
    assert [each.shape for each in found.graph.inputs] == [(5, 4), (5, 4)]
    assert refused(path, shapes={"T": 5, "z.1": 5, "Q": 3}) == [("", "one of the open axes T, x.1, z.1")]


def test_two_batches(tmp_path: Path) -> None:
    proto = model([node("Add", "x z")], {"x": (2, 4), "z": (3, 4)})
    assert refused(saved(tmp_path, proto))[0][1] == "one batch size at the first axis of all inputs"


def test_older_operator_sets(tmp_path: Path) -> None:
    proto = model([node("Relu", "x")], {"x": ("N", 4)}, opset=12)
    ((_, text),) = refused(saved(tmp_path, proto))
    assert text == "operator set 13 or newer; export the model again"


def test_a_model_that_computes_nothing(tmp_path: Path) -> None:
    proto = model([node("Identity", "x")], {"x": ("N", 4)})
    assert refused(saved(tmp_path, proto)) == [("", "a model that computes something")]


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    path.touch()
    os.truncate(path, 2**31)
    ((_, text),) = refused(path)
    assert text.startswith("a file below 2 GiB")


def test_arrays_that_are_not_there(tmp_path: Path) -> None:
    proto = small()
    path = tmp_path / "model.onnx"
    onnx.save(proto, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert load_onnx(path).graph.parameters
    (tmp_path / "weights.bin").unlink()
    ((_, text),) = refused(path)
    assert "external data" in text or "weights.bin" in text


def test_shapes_that_no_memory_holds(tmp_path: Path) -> None:
    nodes = [node("ConstantOfShape", "s", "c"), node("Add", "x c")]
    proto = model(nodes, {"x": ("N", 4)}, {"s": np.array([2**40, 4])})
    ((key, text),) = refused(saved(tmp_path, proto))
    assert key == "constantofshape_c"
    assert "it makes an array of the shape" in text


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_cut_files(part: float, tmp_path: Path) -> None:
    whole = small().SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: int(part * len(whole))])
    assert len(refused(path)) == 1


def test_damaged_files_give_problems_and_nothing_else(tmp_path: Path) -> None:
    """Any byte may be another; a file that is still whole then may be another model."""
    whole = small(2).SerializeToString()
    rng = np.random.default_rng(7)
    path, seen = tmp_path / "damaged.onnx", 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            load_onnx(path)
        except BadInput:
            seen += 1
    assert seen > 50


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, small())
    real = builtins.__import__

    def missing(name: str, *rest: Any, **others: Any) -> Any:
        if name == "onnx" or name.startswith("onnx."):
            raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
        return real(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'taihusim\[onnx\]'"):
        load_onnx(path)
