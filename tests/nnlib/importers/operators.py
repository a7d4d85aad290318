"""For every operator that is imported some uses of it: nodes, shapes of inputs, and arrays of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from tests.nnlib.importers.graphs import node

Shape = tuple[int, ...]
RNG: Final = np.random.default_rng(5)


@dataclass(frozen=True)
class Case:
    """``inputs``: shapes of samples; the batch comes in front. ``arrays``: shapes to be filled, or arrays."""

    nodes: list[NodeProto]
    inputs: Mapping[str, Shape]
    arrays: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("y",)
    opset: int = 17
    integers: tuple[str, ...] = ()
    positive: bool = False
    runtime: bool = True
    """False where ONNX Runtime does not know the operator; then ONNX's reference is what counts."""

    @property
    def kinds(self) -> set[str]:
        return {each.op_type for each in self.nodes}

    @property
    def weights(self) -> dict[str, NDArray[Any]]:
        return {
            name: value if isinstance(value, np.ndarray) else RNG.normal(size=value).astype(np.float32)
            for name, value in self.arrays.items()
        }


def whole(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, dtype=np.int64)


def number(value: float) -> NDArray[np.float32]:
    return np.array(value, dtype=np.float32)


def positive(*shape: int) -> NDArray[np.float32]:
    return RNG.uniform(0.5, 1.5, size=shape).astype(np.float32)


def one(kind: str, shape: Shape = (4, 5), *, opset: int = 17, above: bool = False, **attributes: Any) -> Case:
    """A use without arrays of the file."""
    return Case([node(kind, "x", **attributes)], {"x": shape}, opset=opset, positive=above)


def fixed(kind: str, shape: Shape, arrays: Mapping[str, Any], *, opset: int = 17, **attributes: Any) -> Case:
    """A use with arrays of the file behind its input."""
    return Case([node(kind, " ".join(["x", *arrays]), **attributes)], {"x": shape}, arrays, opset=opset)


def recurrent(kind: str, gates: int, *, directions: int = 1, steps: int = 4, **attributes: Any) -> Case:
    """Sequences of 3 channels through 5 units: all outputs, and the last ones."""
    direction = {1: "forward", 2: "bidirectional"}[directions]
    arrays = {
        "w": (directions, gates * 5, 3),
        "r": (directions, gates * 5, 5),
        "b": (directions, 2 * gates * 5),
    }
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node(kind, "t w r b", "all last", hidden_size=5, **{"direction": direction, **attributes}),
        node("Transpose", "all", "y", perm=[2, 0, 1, 3]),
        node("Transpose", "last", "z", perm=[1, 0, 2]),
    ]
    return Case(nodes, {"x": (steps, 3)}, arrays, outputs=("y", "z"))


MASK: Final = np.tril(np.ones((4, 4), dtype=np.bool_))
NORMS: Final = {"s": (6,), "b": (6,)}

CASES: Final[dict[str, Case]] = {
    **{kind: one(kind) for kind in ("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Abs", "Softplus", "HardSwish", "Neg")},
    **{kind: one(kind, above=True) for kind in ("Log", "Sqrt", "Reciprocal")},
    **{kind: one(kind) for kind in ("LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "Softsign", "LogSoftmax")},
    "LeakyRelu with a slope": one("LeakyRelu", alpha=0.3),
    "Elu with alpha": one("Elu", alpha=0.7),
    "Selu with numbers of its own": one("Selu", alpha=1.2, gamma=0.9),
    "Celu with alpha": one("Celu", alpha=2.0),
    "HardSigmoid of PyTorch": one("HardSigmoid", alpha=1 / 6, beta=0.5),
    "Gelu": one("Gelu", opset=20),
    "Gelu by tanh": one("Gelu", opset=20, approximate="tanh"),
    "Mish": one("Mish", opset=18),
    "Swish": Case([node("Swish", "x")], {"x": (4, 5)}, opset=24, runtime=False),
    "Swish with alpha": Case([node("Swish", "x", alpha=1.5)], {"x": (4, 5)}, opset=24, runtime=False),
    "Softmax": one("Softmax", (3, 4, 5)),
    "Softmax of channels": one("Softmax", (3, 4, 5), axis=1),
    "PRelu of channels": fixed("PRelu", (3, 4, 5), {"s": (3, 1, 1)}),
    "PRelu of all": fixed("PRelu", (3, 4, 5), {"s": (1,)}),
    "PRelu of a last axis": fixed("PRelu", (3, 5), {"s": (5,)}),
    "Clip": fixed("Clip", (4, 5), {"l": number(-0.4), "h": number(0.7)}),
    "Clip from below": fixed("Clip", (4, 5), {"l": number(0.3)}),
    "Clip from above": Case([node("Clip", "x - h")], {"x": (4, 5)}, {"h": number(0.2)}),
    "Clip below zero": fixed("Clip", (4, 5), {"l": number(-0.9), "h": number(-0.1)}),
    "Clip to six": fixed("Clip", (4, 5), {"l": number(0), "h": number(6)}),
    "Clip of rectifiers": fixed("Clip", (4, 5), {"l": number(0), "h": number(3.4e38)}),
    "Max": Case([node("Max", "x z")], {"x": (4, 5), "z": (4, 5)}),
    "Max with numbers": fixed("Max", (4, 5), {"c": number(0.25), "d": number(-0.25)}),
    "Min": Case([node("Min", "x z")], {"x": (4, 5), "z": (1, 5)}),
    "Min with an array": fixed("Min", (4, 5), {"c": (4, 1)}),
    "Max with an array": fixed("Max", (4, 5), {"c": (5,)}),
    "Pow": Case(
        [node("Pow", f"x {p}", f"p{p}") for p in ("a", "b", "c", "d")] + [node("Sum", "pa pb pc pd")],
        {"x": (4, 5)},
        {"a": number(2), "b": number(3), "c": number(0.5), "d": number(-1)},
        positive=True,
    ),
    "Add": Case([node("Add", "x z")], {"x": (3, 4, 5), "z": (3, 1, 1)}),
    "Add of vectors": Case([node("Add", "x z")], {"x": (5,), "z": (5,)}),
    "Add of a bias": fixed("Add", (3, 4, 5), {"w": (3, 1, 1)}),
    "Add of an array with a batch of one": fixed("Add", (4, 5), {"w": (1, 4, 5)}),
    "Add of an array before it": Case([node("Add", "w x")], {"x": (4, 5)}, {"w": (5,)}),
    "Add of a number": fixed("Add", (4, 5), {"c": number(1.5)}),
    "Sub": Case([node("Sub", "x z")], {"x": (4, 5), "z": (4, 5)}),
    "Sub of an array": Case([node("Sub", "w x")], {"x": (4, 5)}, {"w": (4, 1)}),
    "Sub from a number": Case([node("Sub", "c x")], {"x": (4, 5)}, {"c": number(1)}),
    "Mul": Case([node("Mul", "x z")], {"x": (4, 5), "z": (4, 1)}),
    "Mul by an array": Case([node("Mul", "w x")], {"x": (3, 4, 5)}, {"w": (3, 1, 1)}),
    "Mul by a number": Case([node("Mul", "c x")], {"x": (4, 5)}, {"c": number(0.25)}),
    "Div": Case([node("Div", "x z")], {"x": (4, 5), "z": (4, 5)}, positive=True),
    "Div by an array": fixed("Div", (4, 5), {"w": positive(5)}),
    "Div of an array": Case([node("Div", "w x")], {"x": (4, 5)}, {"w": positive(5)}, positive=True),
    "Div of a number": Case([node("Div", "c x")], {"x": (4, 5)}, {"c": number(2)}, positive=True),
    "Sum": Case([node("Sum", "w x z")], {"x": (4, 5), "z": (4, 5)}, {"w": (5,)}),
    "Where with a number": Case([node("Where", "m x c")], {"x": (4, 4)}, {"m": MASK, "c": number(-1e9)}),
    "Where before softmax": Case(
        [
            node("Where", "m x c", "masked"),
            node("Softmax", "masked", "s"),
            node("IsNaN", "s", "n"),
            node("Where", "n zero s"),
        ],
        {"x": (2, 4, 4)},
        {"m": MASK, "c": number(-np.inf), "zero": number(0)},
    ),
    "Where of two": Case([node("Where", "m x z")], {"x": (4, 4), "z": (4, 4)}, {"m": MASK}),
    "Dropout": fixed("Dropout", (4, 5), {"r": number(0.3)}),
    "Identity, Cast and CastLike": Case(
        [
            node("Identity", "x", "i"),
            node("Cast", "i", "d", to=11),
            node("CastLike", "d w", "c"),
            node("Relu", "c"),
        ],
        {"x": (4, 5)},
        {"w": (1,)},
    ),
    "Conv": Case(
        [node("Conv", "x w b", strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2])],
        {"x": (3, 9, 8)},
        {"w": (4, 3, 3, 2), "b": (4,)},
    ),
    "Conv in groups": Case([node("Conv", "x w", group=2)], {"x": (4, 6, 5)}, {"w": (6, 2, 3, 3)}),
    "Conv of channels": Case(
        [node("Conv", "x w", group=4, auto_pad="SAME_UPPER")], {"x": (4, 6, 5)}, {"w": (4, 1, 3, 3)}
    ),
    "Conv of sequences": Case(
        [node("Conv", "x w b", pads=[2, 0], dilations=[2])], {"x": (3, 9)}, {"w": (4, 3, 2), "b": (4,)}
    ),
    "ConvTranspose": Case(
        [node("ConvTranspose", "x w b", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])],
        {"x": (3, 4, 5)},
        {"w": (3, 4, 3, 3), "b": (4,)},
    ),
    "ConvTranspose of sequences": Case([node("ConvTranspose", "x w", strides=[2])], {"x": (3, 5)}, {"w": (3, 4, 2)}),
    "Gemm": Case([node("Gemm", "x w b", transB=1)], {"x": (5,)}, {"w": (4, 5), "b": (4,)}),
    "Gemm with factors": Case([node("Gemm", "x w b", alpha=0.5)], {"x": (5,)}, {"w": (5, 4), "b": (1,)}),
    "MatMul": Case([node("MatMul", "x z")], {"x": (2, 4, 5), "z": (2, 5, 3)}),
    "MatMul with one turned round": Case(
        [node("Transpose", "z", "t", perm=[0, 1, 3, 2]), node("MatMul", "x t")], {"x": (2, 4, 5), "z": (2, 3, 5)}
    ),
    "MatMul by a matrix": Case([node("MatMul", "x w")], {"x": (2, 4, 5)}, {"w": (5, 3)}),
    "MatMul by a vector": Case([node("MatMul", "x w")], {"x": (4, 5)}, {"w": (5,)}),
    "MatMul of a matrix": Case([node("MatMul", "w x")], {"x": (4, 5)}, {"w": (3, 4)}),
    "BatchNormalization": Case(
        [node("BatchNormalization", "x s b m v")], {"x": (6, 4, 5)}, {**NORMS, "m": (6,), "v": positive(6)}
    ),
    "BatchNormalization of vectors": Case(
        [node("BatchNormalization", "x s b m v")], {"x": (6,)}, {**NORMS, "m": (6,), "v": positive(6)}
    ),
    "LayerNormalization": Case([node("LayerNormalization", "x s b")], {"x": (4, 6)}, NORMS),
    "LayerNormalization without shift": Case([node("LayerNormalization", "x s", axis=1)], {"x": (4, 6)}, {"s": (4, 6)}),
    "RMSNormalization": Case([node("RMSNormalization", "x s")], {"x": (4, 6)}, {"s": (6,)}, opset=23, runtime=False),
    "InstanceNormalization": Case([node("InstanceNormalization", "x s b")], {"x": (6, 4, 5)}, NORMS),
    "GroupNormalization": Case([node("GroupNormalization", "x s b", num_groups=3)], {"x": (6, 4, 5)}, NORMS, opset=21),
    "LRN": one("LRN", (6, 4, 5), size=3, alpha=0.1),
    "MaxPool": one("MaxPool", (3, 7, 8), kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1], ceil_mode=1),
    "MaxPool apart": one("MaxPool", (3, 7, 8), kernel_shape=[2, 2], dilations=[2, 2]),
    "MaxPool of sequences": one("MaxPool", (3, 7), kernel_shape=[3], strides=[2], pads=[1, 0]),
    "AveragePool": one("AveragePool", (3, 7, 8), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 1]),
    "AveragePool with padding": one(
        "AveragePool", (3, 7, 8), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 1], count_include_pad=1
    ),
    "AveragePool of sequences": one("AveragePool", (3, 7), kernel_shape=[2], auto_pad="SAME_LOWER"),
    "GlobalAveragePool": one("GlobalAveragePool", (3, 4, 5)),
    "GlobalMaxPool": one("GlobalMaxPool", (3, 4, 5)),
    "Reshape": fixed("Reshape", (4, 6), {"s": whole(0, 2, 2, -1)}),
    "Reshape with the batch": Case(
        [node("Reshape", "x a", "t"), node("MatMul", "t w", "u"), node("Reshape", "u b")],
        {"x": (4, 6)},
        {"a": whole(-1, 6), "w": (6, 3), "b": whole(-1, 4, 3)},
    ),
    "Flatten": one("Flatten", (3, 4, 5)),
    "Flatten further": Case(
        [node("Flatten", "x", "t", axis=-1), node("Softmax", "t", "u"), node("Reshape", "u s")],
        {"x": (3, 4, 5)},
        {"s": whole(-1, 3, 4, 5)},
    ),
    "Transpose": one("Transpose", (3, 4, 5), perm=[0, 3, 1, 2]),
    "Squeeze": fixed("Squeeze", (1, 4, 1), {"a": whole(1, -1)}),
    "Unsqueeze": fixed("Unsqueeze", (4, 5), {"a": whole(1, -1)}),
    "Concat": Case([node("Concat", "x z", axis=1)], {"x": (3, 4), "z": (2, 4)}),
    "Concat with an array": Case(
        [
            node("Shape", "x", "n", end=1),
            node("Concat", "n r", "s", axis=0),
            node("Expand", "w s", "e"),
            node("Concat", "e x", axis=1),
        ],
        {"x": (4, 5)},
        {"w": (1, 1, 5), "r": whole(1, 5)},
        opset=15,
    ),
    "Tile": fixed("Tile", (2, 3), {"r": whole(1, 3, 2)}),
    "Split": Case([node("Split", "x", "p q", axis=1), node("Add", "p q")], {"x": (4, 5)}),
    "Split by lengths": Case(
        [node("Split", "x s", "p q", axis=-1), node("Concat", "q p", axis=2)], {"x": (4, 5)}, {"s": whole(2, 3)}
    ),
    "Slice": fixed("Slice", (6, 7), {"s": whole(1, -2), "e": whole(5, 2**31), "a": whole(1, -1)}),
    "Slice backwards": fixed("Slice", (6, 7), {"s": whole(-1), "e": whole(-(2**31)), "a": whole(1), "t": whole(-2)}),
    "Gather of tokens": Case([node("Gather", "w x")], {"x": (4,)}, {"w": (5, 3)}, integers=("x",)),
    "Gather of a place": fixed("Gather", (4, 5), {"i": np.array(-1, dtype=np.int64)}, axis=1),
    "Gather of places": fixed("Gather", (4, 5), {"i": whole(3, 0, 0, 2)}, axis=2),
    "Gather of rows of places": fixed("Gather", (4, 5), {"i": np.array([[3, 0], [1, 2]])}, axis=1),
    "Pad": fixed("Pad", (3, 4), {"p": whole(0, 1, 0, 0, 2, 1), "c": number(0.5)}),
    "Pad by mirroring": fixed("Pad", (3, 4, 5), {"p": whole(0, 0, 1, 2, 0, 0, 1, 1)}, mode="reflect"),
    "Pad by the outermost": fixed("Pad", (3, 4), {"p": whole(0, 1, 0, 0, 0, 2)}, mode="edge"),
    "Resize nearest": Case(
        [node("Resize", "x - s", mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric")],
        {"x": (3, 4, 5)},
        {"s": np.array([1, 1, 2, 3], dtype=np.float32)},
    ),
    "Resize to sizes": Case(
        [node("Resize", "x - - s", mode="linear", coordinate_transformation_mode="pytorch_half_pixel", axes=[2, 3])],
        {"x": (3, 4, 5)},
        {"s": whole(7, 8)},
        opset=18,
    ),
    "Resize with corners": Case(
        [node("Resize", "x - s", mode="linear", coordinate_transformation_mode="align_corners")],
        {"x": (3, 4, 5)},
        {"s": np.array([1, 1, 2, 2], dtype=np.float32)},
    ),
    "Resize by halves": Case(
        [node("Resize", "x - s", mode="nearest")], {"x": (3, 4)}, {"s": np.array([1, 1, 3], dtype=np.float32)}
    ),
    "Expand": fixed("Expand", (1, 5), {"s": whole(1, 4, 1)}),
    "DepthToSpace": one("DepthToSpace", (8, 2, 3), blocksize=2),
    "DepthToSpace by channels": one("DepthToSpace", (8, 2, 3), blocksize=2, mode="CRD"),
    "SpaceToDepth": one("SpaceToDepth", (2, 4, 6), blocksize=2),
    **{
        f"{kind} {keep}": one(kind, (3, 4, 5), axes=[1, -1], keepdims=keep, above=kind == "ReduceLogSum")
        for kind in (
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceSumSquare",
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSumExp",
            "ReduceLogSum",
        )
        for keep in (0, 1)
    },
    "ReduceSum": fixed("ReduceSum", (3, 4, 5), {"a": whole(2, 3)}),
    "ReduceMax of the set 18": fixed("ReduceMax", (3, 4, 5), {"a": whole(2)}, opset=18, keepdims=0),
    "LSTM": recurrent("LSTM", 4),
    "LSTM both ways": recurrent("LSTM", 4, directions=2),
    "LSTM from the end": recurrent("LSTM", 4, direction="reverse"),
    "GRU": recurrent("GRU", 3),
    "GRU of PyTorch": recurrent("GRU", 3, linear_before_reset=1),
    "GRU both ways": recurrent("GRU", 3, directions=2, linear_before_reset=1),
    "RNN": recurrent("RNN", 1),
    "RNN with rectifiers both ways": recurrent("RNN", 1, directions=2, activations=["Relu", "Relu"]),
    "LSTM with the batch in front": Case(
        [
            node("LSTM", "x w r", "all last", hidden_size=5, layout=1),
            node("Squeeze", "all a", "y"),
            node("Identity", "last", "z"),
        ],
        {"x": (4, 3)},
        {"w": (1, 20, 3), "r": (1, 20, 5), "a": whole(2)},
        outputs=("y", "z"),
        runtime=False,
    ),
}
"""By a name for each."""
