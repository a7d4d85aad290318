"""Random small networks give ONNX Runtime's numbers."""

from __future__ import annotations

import tempfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from tests.nnlib.importers.graphs import check_model, model, node, samples

pytestmark = pytest.mark.numeric
MOST = 400
"""Numbers of a sample."""


class Chain:
    """A network that grows; ``shape`` is that of a sample, in ONNX's order."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.first = self.shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self.last = "x"
        self.seen = [("x", self.shape)]

    def weight(self, array: NDArray[Any]) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = array
        return name

    def normal(self, *shape: int) -> str:
        return self.weight(self.rng.normal(size=shape).astype(np.float32))

    def put(self, kind: str, *more: str, shape: tuple[int, ...] | None = None, **attributes: Any) -> None:
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(kind, " ".join([self.last, *more]), name, **attributes))
        self.last, self.shape = name, self.shape if shape is None else shape
        self.seen.append((name, self.shape))

    def function(self) -> None:
        self.put(self.draw(st.sampled_from(["Relu", "Tanh", "Sigmoid", "Softplus", "Abs", "Erf", "LeakyRelu"])))

    def softmax(self) -> None:
        self.put("Softmax", axis=self.draw(st.integers(1, len(self.shape))))

    def operand(self) -> None:
        kept = [length if self.draw(st.booleans()) else 1 for length in self.shape]
        start = self.draw(st.integers(0, len(kept)))
        self.put(self.draw(st.sampled_from(["Add", "Sub", "Mul"])), self.normal(*kept[start:]))

    def skip(self) -> None:
        names = [name for name, shape in self.seen if shape == self.shape]
        self.put(self.draw(st.sampled_from(["Add", "Sub", "Mul"])), self.draw(st.sampled_from(names)))

    def transpose(self) -> None:
        axes = self.draw(st.permutations(range(len(self.shape))))
        shape = tuple(self.shape[axis] for axis in axes)
        self.put("Transpose", perm=[0, *(axis + 1 for axis in axes)], shape=shape)

    def reshape(self) -> None:
        """Two axes become one, or one becomes two."""
        shape = list(self.shape)
        axis = self.draw(st.integers(0, len(shape) - 1))
        if len(shape) > 1 and (len(shape) == 4 or self.draw(st.booleans())):
            axis = min(axis, len(shape) - 2)
            shape[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
        else:
            parts = [each for each in range(1, shape[axis] + 1) if shape[axis] % each == 0]
            part = self.draw(st.sampled_from(parts))
            shape[axis : axis + 1] = [part, shape[axis] // part]
        self.put("Reshape", self.weight(np.array([-1, *shape])), shape=tuple(shape))

    def folded(self) -> None:
        """Some axes become a batch together with the batch, a matrix is multiplied, and all is as before."""
        if len(self.shape) < 2:
            return
        *ahead, features = self.shape
        count = self.draw(st.integers(1, len(ahead)))
        behind = [*ahead[count:], features]
        self.put("Reshape", self.weight(np.array([-1, *behind])), shape=(0,))
        self.put("MatMul", self.normal(features, 3), shape=(0,))
        shape = (*ahead, 3)
        self.put("Reshape", self.weight(np.array([-1, *shape])), shape=shape)

    def matmul(self) -> None:
        if len(self.shape) > 1:
            self.put("MatMul", self.normal(self.shape[-1], 4), shape=(*self.shape[:-1], 4))

    def conv(self) -> None:
        if len(self.shape) not in (2, 3):
            return
        channels, *pixels = self.shape
        kernel = [self.draw(st.integers(1, min(3, length))) for length in pixels]
        padding = [self.draw(st.integers(0, size - 1)) for size in (*kernel, *kernel)]
        strides = [self.draw(st.integers(1, 2)) for _ in kernel]
        ends = zip(pixels, kernel, strides, padding, padding[len(kernel) :], strict=False)
        shape = tuple((n + a + b - k) // s + 1 for n, k, s, a, b in ends)
        window = {"strides": strides, "pads": padding}
        kind = self.draw(st.sampled_from(["Conv", "Conv", "MaxPool", "AveragePool"]))
        if kind == "Conv":
            self.put("Conv", self.normal(4, channels, *kernel), self.normal(4), shape=(4, *shape), **window)
        else:
            self.put(kind, kernel_shape=kernel, shape=(channels, *shape), **window)

    def normalise(self) -> None:
        channels = self.shape[0]
        variance = self.weight(self.rng.uniform(0.5, 2, size=channels).astype(np.float32))
        arrays = [*(self.normal(channels) for _ in range(3)), variance]
        self.put("BatchNormalization", *arrays)

    def mean(self) -> None:
        axis = self.draw(st.integers(1, len(self.shape)))
        shape = tuple(1 if number == axis - 1 else length for number, length in enumerate(self.shape))
        kind = self.draw(st.sampled_from(["ReduceMean", "ReduceMax", "ReduceMin"]))
        self.put(kind, axes=[axis], keepdims=1, shape=shape)

    def part(self) -> None:
        axis = self.draw(st.integers(1, len(self.shape)))
        begin = self.draw(st.integers(0, self.shape[axis - 1] - 1))
        shape = (*self.shape[: axis - 1], self.shape[axis - 1] - begin, *self.shape[axis:])
        bounds = [self.weight(np.array([each])) for each in (begin, 2**31, axis)]
        self.put("Slice", *bounds, shape=shape)

    def double(self) -> None:
        axis = self.draw(st.integers(1, len(self.shape)))
        shape = (*self.shape[: axis - 1], 2 * self.shape[axis - 1], *self.shape[axis:])
        if prod(shape) <= MOST:
            self.put("Concat", self.last, axis=axis, shape=shape)


STEPS = (
    Chain.function,
    Chain.softmax,
    Chain.operand,
    Chain.skip,
    Chain.transpose,
    Chain.reshape,
    Chain.folded,
    Chain.matmul,
    Chain.conv,
    Chain.normalise,
    Chain.mean,
    Chain.part,
    Chain.double,
)


@st.composite
def networks(draw: st.DrawFn) -> ModelProto:
    chain = Chain(draw)
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=8)):
        step(chain)
    chain.put("Tanh")
    batch = draw(st.sampled_from(["N", 1, 2]))
    return model(chain.nodes, {"x": (batch, *chain.first)}, chain.weights, outputs=[chain.last], opset=17)


@settings(max_examples=60, deadline=None)
@given(networks())
def test_random_networks(proto: ModelProto) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_model(Path(folder), proto, samples(proto, np.random.default_rng(1)), inside=0.01)
