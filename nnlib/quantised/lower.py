"""A calibrated network lowered to integer kernels: what a core group launches for inference of a batch.

Layers without an integer form have their kernels of real numbers, between kernels that convert.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlib.graph import Node
from nnlib.kernels.arranging.copying import Concatenate as ConcatenateKernel
from nnlib.kernels.arranging.copying import Copy, whole_move
from nnlib.kernels.convolutions.grouped import Grouped
from nnlib.kernels.convolutions.im2col import Im2col
from nnlib.kernels.convolutions.patch_window import PatchWindow
from nnlib.kernels.fixed.fixed_point import Dequantise, Quantise
from nnlib.kernels.fixed.integer_depthwise import IntegerDepthwise
from nnlib.kernels.fixed.integer_sum import IntegerSum
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.products.integer_gemm import COUNTS, IntegerGemm
from nnlib.kernels.reducing.pool_window import PoolWindow
from nnlib.kernels.reducing.pooling import MaxPool as MaxPoolKernel
from nnlib.layers.conv_transpose import ConvTranspose2d
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.global_pooling import GlobalMaxPool
from nnlib.layers.layer import Shape
from nnlib.lowering.site import Lowering, Site, lower_forward_of
from nnlib.ops.pool_axis import PoolAxis
from nnlib.ops.reach import reaches
from nnlib.precision import DTypeName
from nnlib.program import Program, ProgramBuilder
from nnlib.quantised.network import IntegerNetwork
from nnlib.quantised.operations import Joined, Largest, Same, Sum, Weighted


def lower_integer(network: IntegerNetwork, *, batch: int, dtype: DTypeName = "fp64", alignment: int = 128) -> Program:
    """Inference of ``batch`` samples; inputs and outputs are in ``dtype``, and so are real numbers in between."""
    return _IntegerLowering(network, batch, dtype, alignment).run()


def integer_parameters(network: IntegerNetwork) -> dict[str, NDArray[Any]]:
    """What the program's buffers of parameters hold, by name."""
    found: dict[str, NDArray[Any]] = dict(network.variables)
    for name, step in network.steps.items():
        found[f"{name}.step"] = np.array([step])
    for name, operation in network.operations.items():
        if isinstance(operation, Weighted):
            matrix = _Matrix.of(operation)
            found[f"{name}.integers"] = matrix.weight
            found[f"{name}.sums"], found[f"{name}.multiplier"] = matrix.bias, matrix.multiplier
        elif isinstance(operation, Sum):
            found[f"{name}.scales"] = operation.scales
        elif isinstance(operation, Joined):
            for number, part in enumerate(operation.parts):
                if part is not None:
                    found[f"{name}.scales{number}"] = part.scales
    return found


@dataclass(frozen=True, eq=False)
class _Matrix:
    """The weights of an operation as a matrix, and a number for each of its columns."""

    weight: NDArray[np.signedinteger[Any]]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.float64]

    @classmethod
    def of(cls, operation: Weighted) -> _Matrix:
        """Of a transposed convolution with a column for every pixel and channel that an input pixel becomes."""
        weight, bias, multiplier = operation.weight, operation.bias, operation.multiplier
        if isinstance(operation.layer, ConvTranspose2d):
            taps = prod(operation.layer.kernel)
            weight = weight.transpose(2, 0, 1, 3).reshape(weight.shape[2], -1)
            return cls(weight, np.tile(bias, taps), np.tile(multiplier, taps))
        return cls(weight.reshape(-1, weight.shape[-1]), bias, multiplier)


class _IntegerLowering:
    """State while the launches are collected."""

    def __init__(self, network: IntegerNetwork, batch: int, dtype: DTypeName, alignment: int) -> None:
        self.network, self.batch, self.storage = network, batch, network.storage
        self.shapes = network.graph.shapes
        self.builder = ProgramBuilder(dtype=dtype, alignment=alignment)
        self.lowering = Lowering(graph=network.graph, builder=self.builder, batch=batch, training=False)
        self.narrow: dict[str, str] = {}
        """The buffer of the integers of an input or a node."""

    def run(self) -> Program:
        graph, builder = self.network.graph, self.builder
        for each in graph.inputs:
            builder.buffer(each.name, (self.batch, *each.shape), "input")
        for node in graph.nodes:
            if node.name in self.network.operations:
                self.operation(node)
            else:
                self.real_node(node)
        for name in graph.outputs:
            self.real(name)
        return builder.finish(kept=graph.outputs)

    def operation(self, node: Node) -> None:
        """The launches of a node in integers."""
        operation, name = self.network.operations[node.name], node.name
        sources = [self.integers(each) for each in node.inputs]
        if isinstance(operation, Same):
            self.narrow[name] = self.builder.alias(f"{name}.narrow", sources[0])
        elif isinstance(operation, Weighted):
            self.weighted(name, operation, sources[0])
        elif isinstance(operation, Sum):
            self.sum(name, operation, sources, f"{name}.scales", f"{name}.saturated", self.result(name))
        elif isinstance(operation, Largest):
            window = self.pool_window(operation, self.shapes[node.inputs[0]])
            self.launch(name, MaxPoolKernel(window, self.storage), x=sources[0], y=self.result(name))
        elif isinstance(operation, Joined):
            self.joined(node, operation, sources)

    def real_node(self, node: Node) -> None:
        """The launches of a node with real numbers."""
        for name in node.inputs:
            self.real(name)
        for full in self.network.graph.variable_names[node.name].values():
            if full not in self.builder.shapes:
                self.builder.buffer(full, self.network.variables[full].shape, "parameter")
        lower_forward_of(node.layer, Site(self.lowering, node))

    def weighted(self, name: str, operation: Weighted, source: str) -> None:
        """Sums of products, made narrow integers at once: channel by channel, or by a matrix product."""
        layer, taken = operation.layer, operation.taken
        image = layer.image_layer if isinstance(layer, Conv1d) else layer
        matrix, ending = _Matrix.of(operation), operation.ending
        k, n = matrix.weight.shape
        arrays = {
            "bias": self.builder.buffer(f"{name}.sums", (n,), "parameter", dtype="int32"),
            "multiplier": self.builder.buffer(f"{name}.multiplier", (n,), "parameter", dtype="fp64"),
        }
        weight = self.builder.buffer(f"{name}.integers", (k, n), "parameter", dtype=self.storage)
        rows = self.batch * prod(taken[:-1])
        groups = 1
        if isinstance(image, Conv2d):
            window = self.window(image, taken)
            if image.groups == window.channels == n:
                counts = self.counts(f"{name}.saturated")
                kernel = IntegerDepthwise(window, self.storage, ending.relu, ending.clipped)
                self.launch(name, kernel, x=source, weight=weight, **arrays, saturated=counts, y=self.result(name))
                return
            groups, rows = image.groups, prod(window.outputs)
            source = self.columns(name, window, groups, source)
        product: Kernel = IntegerGemm(rows, n // groups, k, self.storage, ending.relu, ending.clipped)
        product = product if groups == 1 else Grouped(kernel=product, groups=groups, planes=("a",))
        arrays |= {"a": source, "b": weight, "saturated": self.counts(f"{name}.saturated", groups)}
        if isinstance(layer, ConvTranspose2d):
            blocks = self.builder.buffer(f"{name}.blocks", (rows, n), dtype=self.storage)
            self.launch(name, product, **arrays, c=blocks)
            shape = (self.batch, *taken[:2], *layer.kernel, layer.out_channels)
            move = whole_move(shape, (0, 1, 3, 2, 4, 5))
            self.launch(name, Copy(move, self.storage, label="spread_blocks"), x=blocks, y=self.result(name))
        else:
            self.launch(name, product, **arrays, c=self.result(name))

    def columns(self, name: str, window: PatchWindow, groups: int, source: str) -> str:
        """The columns of images, which may be these themselves."""
        if window.straight and groups == 1:
            return source
        own = replace(window, channels=window.channels // groups)
        shape = (prod(window.outputs), own.taps * own.channels)
        gathered = self.builder.buffer(
            f"{name}.columns", shape if groups == 1 else (groups, *shape), dtype=self.storage
        )
        gather: Kernel = Im2col(own, self.storage)
        gather = gather if groups == 1 else Grouped(kernel=gather, groups=groups, planes=("cols",))
        self.launch(name, gather, x=source, cols=gathered)
        return gathered

    def window(self, layer: Conv2d, taken: Shape) -> PatchWindow:
        """What a convolution sees of samples; sequences are images of one row."""
        height, width, channels = (1, *taken) if len(taken) == 2 else taken
        rows, columns = reaches(
            (height, width), layer.kernel, stride=layer.stride, padding=layer.padding, dilation=layer.dilation
        )
        return PatchWindow(batch=self.batch, channels=channels, rows=rows, columns=columns)

    def pool_window(self, operation: Largest, shape: Shape) -> PoolWindow:
        """What pooling sees; sequences are images of one column."""
        layer = operation.layer
        if isinstance(layer, GlobalMaxPool):
            axes = tuple(PoolAxis(length, length, 1) for length in shape[:-1])
        else:
            axes = layer.axes(shape)
        rows, columns = axes if len(axes) == 2 else (axes[0], PoolAxis(1, 1, 1))
        return PoolWindow(self.batch, rows, columns, shape[-1])

    def sum(self, layer: str, operation: Sum, sources: list[str], scales: str, counts: str, result: str) -> None:
        """A sum into the buffer ``result``."""
        ending, count = operation.ending, len(sources)
        kernel = IntegerSum(self.builder.elements(result), count, self.storage, ending.relu, ending.clipped)
        arrays = {f"x{number}": source for number, source in enumerate(sources)}
        given = self.builder.buffer(scales, (count + 1,), "parameter", dtype="fp64")
        self.launch(layer, kernel, **arrays, scales=given, saturated=self.counts(counts), y=result)

    def joined(self, node: Node, operation: Joined, sources: list[str]) -> None:
        """Parts brought to one step, then copied one behind the other."""
        name, shape = node.name, self.shapes[node.name]
        parts = []
        for number, (part, source) in enumerate(zip(operation.parts, sources, strict=True)):
            target = source
            if part is not None:
                own = (self.batch, *self.shapes[node.inputs[number]])
                target = self.builder.buffer(f"{name}.part{number}", own, dtype=self.storage)
                self.sum(name, part, [source], f"{name}.scales{number}", f"{name}.part{number}.saturated", target)
            parts.append(target)
        axis = operation.layer.place(shape)
        sizes = tuple(self.shapes[each][axis] for each in node.inputs)
        kernel = ConcatenateKernel(self.batch * prod(shape[:axis]), sizes, prod(shape[axis + 1 :]), self.storage)
        self.launch(name, kernel, **{f"x{number}": part for number, part in enumerate(parts)}, y=self.result(name))

    def integers(self, name: str) -> str:
        """The buffer of the integers of an input or node; a launch makes them of its real numbers if need be."""
        if name not in self.narrow:
            elements = self.batch * prod(self.shapes[name])
            counts = self.builder.buffer(f"{name}.saturated", (1,), dtype="int32")
            kernel = Quantise(elements, 1, self.storage, self.builder.dtype)
            self.launch(name, kernel, x=name, step=self.step(name), saturated=counts, q=self.result(name))
        return self.narrow[name]

    def real(self, name: str) -> None:
        """Have the real numbers of an input or node in the buffer ``name``; a launch makes them if need be."""
        if name in self.builder.shapes or name in self.builder.aliases:
            return
        shape = (self.batch, *self.shapes[name])
        kernel = Dequantise(prod(shape), 1, self.storage, self.builder.dtype)
        self.launch(name, kernel, q=self.narrow[name], step=self.step(name), x=self.builder.buffer(name, shape))

    def step(self, name: str) -> str:
        """The buffer of a tensor's step."""
        step = f"{name}.step"
        return step if step in self.builder.shapes else self.builder.buffer(step, (1,), "parameter", dtype="fp64")

    def counts(self, name: str, groups: int = 1) -> str:
        """A buffer for what is counted: sums that overflow and results that saturate, of each group."""
        return self.builder.buffer(name, (groups * COUNTS,), dtype="int32")

    def result(self, name: str) -> str:
        """Declare the buffer of a node's integers."""
        shape = (self.batch, *self.shapes[name])
        self.narrow[name] = self.builder.buffer(f"{name}.narrow", shape, dtype=self.storage)
        return self.narrow[name]

    def launch(self, layer: str, kernel: Kernel, **arguments: str) -> None:
        self.builder.launch(kernel, layer=layer, phase="forward", part="others", **arguments)
