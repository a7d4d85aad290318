"""Graph and batch, lowered once to the launches of a core group: what every device times or executes."""

from __future__ import annotations

from functools import singledispatch

from nnlib.graph import Graph
from nnlib.kernels.elementwise import BiasAdd, Elementwise
from nnlib.kernels.gemm import Gemm
from nnlib.kernels.im2col import Col2im, Im2col
from nnlib.kernels.pooling import MaxPool as MaxPoolKernel
from nnlib.kernels.pooling import MaxPoolGradient
from nnlib.kernels.reduction import ColumnSum
from nnlib.kernels.softmax import SoftmaxCrossEntropy
from nnlib.kernels.window import Window
from nnlib.layers import Conv2d, Flatten, Layer, Linear, MaxPool, ReLU
from nnlib.precision import DTypeName
from nnlib.program import Phase, Program, ProgramBuilder
from sim.chip.memory import Shape

INPUT = "input"
TARGETS = "batch:targets"
LOSS = "batch:loss"
"""Names that no layer can have."""


class _Context:
    """What lowering one layer knows: the batch, the shapes around it and the builder."""

    def __init__(self, *, builder: ProgramBuilder, batch: int, source: str, in_shape: Shape, out_shape: Shape) -> None:
        self.builder = builder
        self.batch = batch
        self.source = source
        self.in_shape = in_shape
        self.out_shape = out_shape

    def elements(self, shape: Shape) -> int:
        total = self.batch
        for length in shape:
            total *= length
        return total


def lower_forward(*, graph: Graph, batch: int, dtype: DTypeName, alignment: int = 128) -> Program:
    """The forward pass of ``batch`` samples on one core group: logits in the buffer of the graph's output."""
    builder = _declare(graph=graph, batch=batch, dtype=dtype, alignment=alignment)
    _lower_layers(graph=graph, builder=builder, batch=batch)
    return builder.finish()


def lower_gradients(*, graph: Graph, batch: int, dtype: DTypeName, alignment: int = 128) -> Program:
    """Forward, softmax cross-entropy and backward of ``batch`` samples: gradients in buffers ``grad:PARAMETER``."""
    builder = _declare(graph=graph, batch=batch, dtype=dtype, alignment=alignment)
    contexts = _lower_layers(graph=graph, builder=builder, batch=batch)
    classes = graph.output_shape[-1]
    builder.buffer(TARGETS, (batch, 2), "input")
    builder.buffer(LOSS, (batch, 1))
    gradient = builder.buffer(f"grad:{graph.output}", (batch, classes))
    builder.launch(
        SoftmaxCrossEntropy(rows=batch, classes=classes, dtype=dtype),
        layer="loss",
        phase="forward",
        logits=graph.output,
        targets=TARGETS,
        grad_logits=gradient,
        loss=LOSS,
    )
    for node in reversed(graph.nodes):
        context = contexts[node.name]
        for name, shape in graph.parameter_shapes(node.name).items():
            builder.buffer(f"grad:{name}", shape, "gradient")
        _backward(node.layer, context, context.source in graph.learned)
    return builder.finish()


def _declare(*, graph: Graph, batch: int, dtype: DTypeName, alignment: int) -> ProgramBuilder:
    builder = ProgramBuilder(dtype=dtype, alignment=alignment)
    builder.buffer(INPUT, (batch, *graph.input_shape), "input")
    for node in graph.nodes:
        for name, shape in graph.parameter_shapes(node.name).items():
            builder.buffer(name, shape, "parameter")
    return builder


def _lower_layers(*, graph: Graph, builder: ProgramBuilder, batch: int) -> dict[str, _Context]:
    contexts = {}
    for node in graph.nodes:
        (source,) = node.inputs
        context = _Context(
            builder=builder,
            batch=batch,
            source=source,
            in_shape=graph.shape(source),
            out_shape=graph.shape(node.name),
        )
        contexts[node.name] = context
        _forward(node.layer, context)
    return contexts


@singledispatch
def _forward(layer: Layer, context: _Context) -> None:
    raise NotImplementedError(f"no kernels for layer {layer.name!r} of type {type(layer).__name__}")


@singledispatch
def _backward(layer: Layer, context: _Context, need_input: bool) -> None:
    raise NotImplementedError(f"no kernels for the gradient of layer {layer.name!r} of type {type(layer).__name__}")


@_forward.register
def _(layer: Conv2d, context: _Context) -> None:
    builder, dtype = context.builder, context.builder.dtype
    window = _conv_window(layer, context)
    rows = context.batch * window.out_height * window.out_width
    depth = window.taps * window.channels
    cols = builder.buffer(f"{layer.name}.cols", (rows, depth))
    out = builder.buffer(layer.name, (context.batch, *context.out_shape))
    builder.launch(Im2col(window, dtype), layer=layer.name, phase="forward", x=context.source, cols=cols)
    _gemm_bias(layer.name, context, m=rows, n=layer.out_channels, k=depth, a=cols, out=out, bias=layer.bias)


@_backward.register
def _(layer: Conv2d, context: _Context, need_input: bool) -> None:
    window = _conv_window(layer, context)
    rows = context.batch * window.out_height * window.out_width
    depth = window.taps * window.channels
    grad_cols = f"grad:{layer.name}.cols" if need_input else None
    _gemm_gradients(
        layer.name, context, m=rows, n=layer.out_channels, k=depth,
        a=f"{layer.name}.cols", grad_a=grad_cols, bias=layer.bias,
    )  # fmt: skip
    if grad_cols is not None:
        grad_x = context.builder.buffer(f"grad:{context.source}", (context.batch, *context.in_shape))
        context.builder.launch(
            Col2im(window, context.builder.dtype), layer=layer.name, phase="backward", cols=grad_cols, x=grad_x
        )


@_forward.register
def _(layer: Linear, context: _Context) -> None:
    out = context.builder.buffer(layer.name, (context.batch, *context.out_shape))
    (depth,), (n,) = context.in_shape, context.out_shape
    _gemm_bias(layer.name, context, m=context.batch, n=n, k=depth, a=context.source, out=out, bias=layer.bias)


@_backward.register
def _(layer: Linear, context: _Context, need_input: bool) -> None:
    (depth,), (n,) = context.in_shape, context.out_shape
    _gemm_gradients(
        layer.name, context, m=context.batch, n=n, k=depth,
        a=context.source, grad_a=f"grad:{context.source}" if need_input else None, bias=layer.bias,
    )  # fmt: skip


@_forward.register
def _(layer: ReLU, context: _Context) -> None:
    builder = context.builder
    out = builder.buffer(layer.name, (context.batch, *context.out_shape))
    kernel = Elementwise("relu", context.elements(context.out_shape), builder.dtype)
    builder.launch(kernel, layer=layer.name, phase="forward", x=context.source, y=out)


@_backward.register
def _(layer: ReLU, context: _Context, need_input: bool) -> None:
    if not need_input:
        return
    builder = context.builder
    grad = builder.buffer(f"grad:{context.source}", (context.batch, *context.in_shape))
    kernel = Elementwise("relu_gradient", context.elements(context.out_shape), builder.dtype)
    builder.launch(kernel, layer=layer.name, phase="backward", y=layer.name, grad_y=f"grad:{layer.name}", grad_x=grad)


@_forward.register
def _(layer: MaxPool, context: _Context) -> None:
    builder = context.builder
    out = builder.buffer(layer.name, (context.batch, *context.out_shape))
    kernel = MaxPoolKernel(_pool_window(layer, context), builder.dtype)
    builder.launch(kernel, layer=layer.name, phase="forward", x=context.source, y=out)


@_backward.register
def _(layer: MaxPool, context: _Context, need_input: bool) -> None:
    if not need_input:
        return
    builder = context.builder
    grad = builder.buffer(f"grad:{context.source}", (context.batch, *context.in_shape))
    kernel = MaxPoolGradient(_pool_window(layer, context), builder.dtype)
    builder.launch(
        kernel, layer=layer.name, phase="backward", x=context.source, grad_y=f"grad:{layer.name}", grad_x=grad
    )


@_forward.register
def _(layer: Flatten, context: _Context) -> None:
    context.builder.alias(layer.name, context.source)


@_backward.register
def _(layer: Flatten, context: _Context, need_input: bool) -> None:
    if need_input:
        context.builder.alias(f"grad:{context.source}", f"grad:{layer.name}")


def _gemm_bias(name: str, context: _Context, *, m: int, n: int, k: int, a: str, out: str, bias: bool) -> None:
    """``out = a·weight + bias``."""
    builder, dtype = context.builder, context.builder.dtype
    phase: Phase = "forward"
    builder.launch(Gemm(m=m, n=n, k=k, dtype=dtype), layer=name, phase=phase, a=a, b=f"{name}.weight", c=out)
    if bias:
        builder.launch(BiasAdd(rows=m, channels=n, dtype=dtype), layer=name, phase=phase, y=out, bias=f"{name}.bias")


def _gemm_gradients(
    name: str, context: _Context, *, m: int, n: int, k: int, a: str, grad_a: str | None, bias: bool
) -> None:
    """The gradients of ``out = a·weight + bias`` by weight, bias and, where wanted, a."""
    builder, dtype = context.builder, context.builder.dtype
    grad = f"grad:{name}"
    phase: Phase = "backward"
    weight = Gemm(m=k, n=n, k=m, dtype=dtype, transpose_a=True)
    builder.launch(weight, layer=name, phase=phase, a=a, b=grad, c=f"grad:{name}.weight")
    if bias:
        kernel = ColumnSum(rows=m, columns=n, dtype=dtype)
        builder.launch(kernel, layer=name, phase=phase, x=grad, total=f"grad:{name}.bias")
    if grad_a is not None:
        builder.buffer(grad_a, (m, k))
        kernel_a = Gemm(m=m, n=k, k=n, dtype=dtype, transpose_b=True)
        builder.launch(kernel_a, layer=name, phase=phase, a=grad, b=f"{name}.weight", c=grad_a)


def _conv_window(layer: Conv2d, context: _Context) -> Window:
    height, width, channels = context.in_shape
    return Window(context.batch, height, width, channels, layer.kernel, layer.stride, layer.padding)


def _pool_window(layer: MaxPool, context: _Context) -> Window:
    height, width, channels = context.in_shape
    return Window(context.batch, height, width, channels, layer.kernel, layer.stride)
