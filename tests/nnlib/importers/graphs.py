"""Small ONNX models, and their outputs here and by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nnlib.importers.onnx import Imported, load_onnx

Arrays = Mapping[str, NDArray[Any]]
BATCH = 3
INT64 = TensorProto.INT64
LIMIT = 1e-4
"""Of the largest difference, of the largest number."""


def node(kind: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """An operator; names are separated by spaces, ``-`` stands for an input that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, names, outputs.split(), name=f"{kind.lower()}_{outputs.split()[0]}", **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    weights: Arrays | None = None,
    *,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    integers: Sequence[str] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model of ``nodes`` over ``inputs`` with their shapes, batch included."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(name, INT64 if name in integers else TensorProto.FLOAT, shape)
            for name, shape in inputs.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=min(10, onnx.IR_VERSION))
    made = onnx.shape_inference.infer_shapes(made, data_prop=True)  # outputs need a shape to be valid
    for value in made.graph.output:
        if not value.type.tensor_type.HasField("shape"):  # not inferred: some axes, as many as the first input has
            axes = len(next(iter(inputs.values())))
            value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, [None] * axes))
    return made


def saved(folder: Path, proto: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    onnx.save(proto, str(path))
    return path


def samples(proto: onnx.ModelProto, rng: np.random.Generator, *, below: int = 5) -> dict[str, NDArray[Any]]:
    """A batch for each input that is no initialiser."""
    known = {each.name for each in proto.graph.initializer}
    found: dict[str, NDArray[Any]] = {}
    for value in proto.graph.input:
        if value.name in known:
            continue
        kind = value.type.tensor_type
        shape = [dim.dim_value or BATCH for dim in kind.shape.dim]
        whole = kind.elem_type == INT64
        found[value.name] = rng.integers(0, below, shape) if whole else rng.normal(size=shape).astype(np.float32)
    return found


def runtime_outputs(proto: onnx.ModelProto, feeds: Arrays) -> list[NDArray[Any]]:
    """What ONNX Runtime computes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def outputs_here(found: Imported, feeds: Arrays) -> list[NDArray[Any]]:
    """What the imported network computes, output by output of the file."""
    done = found.graph.predict(found.variables, feeds)
    return [done[name] for name in found.outputs.values()]


def check_model(
    folder: Path,
    proto: onnx.ModelProto,
    feeds: Arrays,
    expected: Sequence[NDArray[Any]] | None = None,
    *,
    inside: float = 0.0,
) -> Imported:
    """Import it and compare all outputs, by default with ONNX Runtime's.

    ``inside``: the size of numbers within the network, where outputs may be small differences of them.
    """
    found = load_onnx(saved(folder, proto))
    wanted = runtime_outputs(proto, feeds) if expected is None else expected
    for ours, theirs in zip(outputs_here(found, feeds), wanted, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        assert np.isfinite(theirs).all()
        error = float(np.abs(ours - theirs).max(initial=0.0))
        assert error <= LIMIT * max(float(np.abs(theirs).max(initial=0.0)), inside)
    return found
