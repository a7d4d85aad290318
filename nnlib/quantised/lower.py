"""A calibrated network lowered to integer kernels: what a core group launches for inference of a batch."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlib.graph import Node
from nnlib.kernels.convolutions.im2col import Im2col
from nnlib.kernels.convolutions.patch_window import PatchWindow
from nnlib.kernels.fixed.fixed_point import Dequantise, Quantise
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.products.integer_gemm import COUNTS, IntegerGemm
from nnlib.kernels.reducing.pool_window import PoolWindow
from nnlib.kernels.reducing.pooling import MaxPool as MaxPoolKernel
from nnlib.layers import Conv2d, Flatten, MaxPool
from nnlib.ops.reach import reaches
from nnlib.precision import DTypeName
from nnlib.program import Program, ProgramBuilder
from nnlib.quantised.network import IntegerNetwork, IntegerProduct, keeps_integers


class NotLowered(ValueError):
    """A layer that has no integer kernel."""


def lower_integer(network: IntegerNetwork, *, batch: int, dtype: DTypeName = "fp64", alignment: int = 128) -> Program:
    """Inference of ``batch`` samples; inputs and outputs are in ``dtype``.

    Raises NotLowered for a layer that works on real numbers, naming it.
    """
    return _Lowering(network, batch, dtype, alignment).run()


def integer_parameters(network: IntegerNetwork) -> dict[str, NDArray[Any]]:
    """What the program's buffers of parameters hold, by name."""
    found: dict[str, NDArray[Any]] = {}
    for name, step in network.steps.items():
        found[f"{name}.step"] = np.array([step])
    for name, product in network.products.items():
        found[f"{name}.integers"] = product.weight.reshape(-1, product.weight.shape[-1])
        found[f"{name}.sums"] = product.bias
        found[f"{name}.multiplier"] = product.multiplier
    return found


class _Lowering:
    """State while the launches are collected."""

    def __init__(self, network: IntegerNetwork, batch: int, dtype: DTypeName, alignment: int) -> None:
        self.network, self.batch, self.dtype = network, batch, dtype
        self.shapes = network.graph.shapes
        self.builder = ProgramBuilder(dtype=dtype, alignment=alignment)
        self.narrow: dict[str, str] = {}
        """The buffer of the integers of each input and node."""

    def run(self) -> Program:
        graph, builder = self.network.graph, self.builder
        for each in graph.inputs:
            if each.integer:
                raise NotLowered(f"the input {each.name!r} is of indices: there are no integer kernels for it")
            builder.buffer(each.name, (self.batch, *each.shape), "input")
            self.quantise(each.name)
        for node in graph.nodes:
            self.node(node)
        for name in graph.outputs:
            self.dequantise(name)
        return builder.finish(kept=graph.outputs)

    def node(self, node: Node) -> None:
        """The launches of a node."""
        product = self.network.products.get(node.name)
        source = self.narrow[node.inputs[0]]
        if product is not None:
            self.product(node, product, source)
        elif node.inputs[0] in self.network.products and self.network.products[node.inputs[0]].relu:
            self.narrow[node.name] = source
        elif isinstance(node.layer, Flatten):
            self.narrow[node.name] = self.builder.alias(self.integers(node.name), source)
        elif isinstance(node.layer, MaxPool) and keeps_integers(node):
            shape = self.shapes[node.inputs[0]]
            rows, columns = node.layer.axes(shape)
            window = PoolWindow(self.batch, rows, columns, shape[-1])
            self.launch(node.name, MaxPoolKernel(window, self.network.storage), x=source, y=self.result(node.name))
        else:
            raise NotLowered(f"layer {node.name!r} of type {type(node.layer).__name__} has no integer kernel")

    def product(self, node: Node, product: IntegerProduct, source: str) -> None:
        """Gather columns if there are windows, multiply, make narrow integers of the sums."""
        k, n = prod(product.weight.shape[:-1]), product.weight.shape[-1]
        shape = self.shapes[node.name]
        m = self.batch * prod(shape[:-1])
        builder, name, layer = self.builder, node.name, node.layer
        if isinstance(layer, Conv2d):
            height, width, channels = self.shapes[node.inputs[0]]
            rows, columns = reaches(
                (height, width), layer.kernel, stride=layer.stride, padding=layer.padding, dilation=layer.dilation
            )
            window = PatchWindow(batch=self.batch, channels=channels, rows=rows, columns=columns)
            gathered = builder.buffer(f"{name}.columns", (m, k), dtype=self.network.storage)
            self.launch(name, Im2col(window, self.network.storage), x=source, cols=gathered)
            source = gathered
        weight = builder.buffer(f"{name}.integers", (k, n), "parameter", dtype=self.network.storage)
        bias = builder.buffer(f"{name}.sums", (n,), "parameter", dtype="int32")
        multiplier = builder.buffer(f"{name}.multiplier", (n,), "parameter", dtype="fp64")
        counts = builder.buffer(f"{name}.saturated", (COUNTS,), dtype="int32")
        kernel = IntegerGemm(m=m, n=n, k=k, dtype=self.network.storage, relu=product.relu)
        arrays = {"a": source, "b": weight, "bias": bias, "multiplier": multiplier, "saturated": counts}
        self.launch(name, kernel, **arrays, c=self.result(name))

    def quantise(self, name: str) -> None:
        """An input as integers."""
        elements = self.batch * prod(self.shapes[name])
        step = self.builder.buffer(f"{name}.step", (1,), "parameter", dtype="fp64")
        counts = self.builder.buffer(f"{name}.saturated", (1,), dtype="int32")
        kernel = Quantise(elements, 1, self.network.storage, self.dtype)
        self.launch(name, kernel, x=name, step=step, saturated=counts, q=self.result(name))

    def dequantise(self, name: str) -> None:
        """An output as real numbers."""
        shape = (self.batch, *self.shapes[name])
        step = self.builder.buffer(f"{name}.step", (1,), "parameter", dtype="fp64")
        kernel = Dequantise(prod(shape), 1, self.network.storage, self.dtype)
        self.launch(name, kernel, q=self.narrow[name], step=step, x=self.builder.buffer(name, shape))

    def result(self, name: str) -> str:
        """Declare the buffer of a node's integers."""
        shape = (self.batch, *self.shapes[name])
        self.narrow[name] = self.builder.buffer(self.integers(name), shape, dtype=self.network.storage)
        return self.narrow[name]

    def integers(self, name: str) -> str:
        return f"{name}.narrow"

    def launch(self, layer: str, kernel: Kernel, **arguments: str) -> None:
        self.builder.launch(kernel, layer=layer, phase="forward", **arguments)
