"""What lowering one layer or loss knows, and the rules that lower each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, singledispatch
from typing import Final

from nnlib.graph import Graph, Node
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.layers.layer import Layer, Shape
from nnlib.layers.randomness import KEY_NUMBERS
from nnlib.losses.loss import Loss
from nnlib.lowering.choice import OWN, Choice
from nnlib.lowering.rules import load_rules
from nnlib.parts import Part
from nnlib.precision import DTypeName
from nnlib.program import Layout, Phase, ProgramBuilder

IMAGE_AXES: Final = 3
"""Of a sample that is an image: the only ones that have a choice of layouts."""


@dataclass
class Lowering:
    """One program being built: the buffers of ``batch`` samples of ``graph``, and the gradients so far.

    ``gradients`` names the buffer of the gradient of each node's output, as far as its consumers are lowered, and
    ``parts`` those of parameters that several layers share, as far as these are. ``choice``: whose kernels there are.
    ``turned`` names copies of buffers in the other layout.
    """

    graph: Graph
    builder: ProgramBuilder
    batch: int
    training: bool
    choice: Choice = OWN
    gradients: dict[str, str] = field(default_factory=dict)
    parts: dict[str, list[str]] = field(default_factory=dict)
    turned: dict[tuple[str, Layout], str] = field(default_factory=dict)

    def contribute(self, node: str, buffer: str, *, layer: str) -> None:
        """``buffer`` holds a part of the gradient of ``node``'s output; a second part is added by a kernel."""
        known = self.gradients.get(node)
        if known is not None:
            layout = self.builder.layout(known)
            other = self.in_layout(buffer, layout, self.graph.shapes[node], layer=layer, phase="backward")
            total = self.builder.buffer(self.builder.fresh(f"grad:{node}"), self.builder.shape(buffer), layout=layout)
            buffer = self._sum(known, other, total, layer=layer)
        self.gradients[node] = buffer

    def in_layout(self, buffer: str, layout: Layout, shape: Shape, *, layer: str, phase: Phase) -> str:
        """``buffer`` of images of ``shape``, or its copy in ``layout``, made by a launch where there is none yet."""
        found = self.builder.resolve(buffer)
        if self.builder.layout(found) == layout or len(shape) != IMAGE_AXES:
            return buffer
        if (found, layout) not in self.turned:
            have = self.builder.layout(found)
            kernel = transform(have, layout, self.batch, shape, self.builder.dtype)
            name = self.builder.fresh(f"{found}:{layout}")
            copy = self.builder.buffer(name, (self.batch, *shape), layout=layout)
            self.builder.launch(kernel, layer=layer, phase=phase, part="tensor_trans", x=found, y=copy)
            self.turned[found, layout], self.turned[copy, have] = copy, found
        return self.turned[found, layout]

    def parameter_gradient(self, full: str) -> str:
        """A new buffer for the gradient of a parameter, or for a part of it where layers share the parameter."""
        shape = self.graph.parameters[full]
        if self._users[full] == 1:
            return self.builder.buffer(f"grad:{full}", shape, "gradient")
        part = self.builder.buffer(self.builder.fresh(f"part:{full}"), shape)
        self.parts.setdefault(full, []).append(part)
        return part

    def add_parts(self, *, layer: str) -> None:
        """Add up the parts of parameters whose last one has just been written."""
        for full, parts in self.parts.items():
            if len(parts) < self._users[full]:
                continue
            total = parts[0]
            for number, part in enumerate(parts[1:], start=2):
                last = number == len(parts)
                name = f"grad:{full}" if last else self.builder.fresh(f"part:{full}")
                summed = self.builder.buffer(name, self.graph.parameters[full], "gradient" if last else "activation")
                total = self._sum(total, part, summed, layer=layer)
        self.parts = {full: parts for full, parts in self.parts.items() if len(parts) < self._users[full]}

    @cached_property
    def _users(self) -> Mapping[str, int]:
        names = self.graph.variable_names
        return Counter(full for node in self.graph.nodes for full in names[node.name].values())

    def _sum(self, one: str, other: str, total: str, *, layer: str) -> str:
        kernel = Elementwise("add", self.builder.elements(one), self.builder.dtype)
        self.builder.launch(kernel, layer=layer, phase="backward", x=one, y=other, z=total)
        return total


def transform(have: Layout, want: Layout, batch: int, shape: Shape, dtype: DTypeName) -> Kernel:
    """The kernel that turns a batch of images of ``shape`` from one layout into another."""
    from nnlib.kernels.arranging.copying import Copy, whole_move
    from nnlib.kernels.arranging.layout import Transpose

    height, width, channels = shape
    pixels, label = height * width, "tensor_transform"
    match have, want:
        case "channels-last", "planar":
            return Transpose(batch, pixels, channels, dtype, label)
        case "planar", "channels-last":
            return Transpose(batch, channels, pixels, dtype, label)
        case "channels-last", "pixels-first":
            return Transpose(1, batch, pixels * channels, dtype, label)
        case "pixels-first", "channels-last":
            return Transpose(1, pixels * channels, batch, dtype, label)
        case "planar", _:
            return Copy(whole_move((batch, channels, pixels), (2, 1, 0)), dtype, label=label)
        case _:
            return Copy(whole_move((pixels, channels, batch), (2, 1, 0)), dtype, label=label)


class Site:
    """One layer in its place. Buffers have the batch in front of the shape per sample."""

    def __init__(self, lowering: Lowering, node: Node) -> None:
        graph = lowering.graph
        self.lowering = lowering
        self.builder = lowering.builder
        self.node = node
        self.name = node.name
        self.batch = lowering.batch
        self.training = lowering.training
        self.in_shapes = graph.input_shapes(node)
        self.out_shape = graph.shapes[node.name]
        self.needs = tuple(name in graph.learned for name in node.inputs)
        self.phase: Phase = "forward"
        self.part = part_of(node.layer)

    @property
    def dtype(self) -> DTypeName:
        return self.builder.dtype

    @property
    def choice(self) -> Choice:
        return self.lowering.choice

    @property
    def inputs(self) -> tuple[str, ...]:
        """The buffers of the inputs, images with their channels last."""
        return tuple(self.input_as("channels-last", number) for number in range(len(self.node.inputs)))

    @property
    def input(self) -> str:
        """The buffer of the only input, images with their channels last."""
        (name,) = self.inputs
        return name

    def input_as(self, layout: Layout, number: int = 0) -> str:
        """The buffer of an input in a layout."""
        return self._in_layout(self.node.inputs[number], layout, self.in_shapes[number])

    def layout(self, number: int = 0) -> Layout:
        """The layout that an input has."""
        return self.builder.layout(self.node.inputs[number])

    @property
    def in_shape(self) -> Shape:
        """The shape per sample of the only input."""
        (shape,) = self.in_shapes
        return shape

    @property
    def grad_output(self) -> str:
        """The buffer of the gradient of the output, images with their channels last."""
        return self.grad_output_as("channels-last")

    def grad_output_as(self, layout: Layout) -> str:
        """The buffer of the gradient of the output in a layout."""
        return self._in_layout(self.lowering.gradients[self.name], layout, self.out_shape)

    def _in_layout(self, buffer: str, layout: Layout, shape: Shape) -> str:
        return self.lowering.in_layout(buffer, layout, shape, layer=self.name, phase=self.phase)

    def elements(self, shape: Shape) -> int:
        """Numbers of a whole batch of ``shape``."""
        total = self.batch
        for length in shape:
            total *= length
        return total

    def output(self, layout: Layout = "channels-last") -> str:
        """Declare the buffer of the output."""
        return self.builder.buffer(self.name, (self.batch, *self.out_shape), layout=layout)

    def output_is(self, source: str) -> None:
        """The output is ``source``'s buffer under another shape."""
        self.builder.alias(self.name, source)

    def buffer(self, suffix: str, shape: Shape) -> str:
        """Declare a further buffer of the layer, of ``shape`` as it is."""
        return self.builder.buffer(f"{self.name}.{suffix}", shape)

    def made(self, suffix: str) -> str:
        """A buffer that :meth:`buffer` declared in another phase."""
        return f"{self.name}.{suffix}"

    def variable(self, name: str) -> str:
        """The buffer of a parameter or a statistic."""
        return self.lowering.graph.variable_names[self.name][name]

    def new_statistic(self, name: str) -> str:
        """Declare the buffer of a statistic after this batch."""
        full = self.variable(name)
        return self.builder.buffer(f"new:{full}", self.lowering.graph.statistics[full], "statistic")

    def parameter_gradient(self, name: str) -> str:
        """Declare the buffer of a parameter's gradient, which the layer writes next."""
        if name in self.node.frozen:
            full = self.variable(name)
            return self.builder.buffer(self.builder.fresh(f"unused:{full}"), self.lowering.graph.statistics[full])
        return self.lowering.parameter_gradient(self.variable(name))

    def input_gradient(self, number: int = 0, layout: Layout = "channels-last") -> str:
        """Declare the buffer of the gradient by an input, which the layer writes before it calls :meth:`contribute`."""
        name = self.builder.fresh(f"grad:{self.node.inputs[number]}")
        return self.builder.buffer(name, (self.batch, *self.in_shapes[number]), layout=layout)

    def contribute(self, buffer: str, number: int = 0) -> None:
        """``buffer`` holds, once the launches so far are done, the gradient by an input."""
        self.lowering.contribute(self.node.inputs[number], buffer, layer=self.name)

    def pass_gradient(self, number: int = 0) -> None:
        """The gradient by an input is that of the output, under the input's shape."""
        alike = self.in_shapes[number] == self.out_shape
        source = self.lowering.gradients[self.name] if alike else self.grad_output
        name = self.builder.alias(self.builder.fresh(f"grad:{self.node.inputs[number]}"), source)
        self.contribute(name, number)

    def random_key(self) -> str:
        """The buffer (8,) of the layer's random key and the first sample's number, as ``key_numbers`` gives them."""
        name = f"key:{self.name}"
        return name if name in self.builder.shapes else self.builder.buffer(name, (KEY_NUMBERS,), "input")

    def launch_transform(self, kernel: Kernel, x: str, y: str) -> None:
        """Append a launch that only changes an order of data."""
        self.builder.launch(kernel, layer=self.name, phase=self.phase, part="tensor_trans", x=x, y=y)

    def launch(self, kernel: Kernel, **arguments: str) -> None:
        """Append a launch of the layer."""
        self.builder.launch(kernel, layer=self.name, phase=self.phase, part=self.part, **arguments)


class LossSite:
    """One loss in its place: the outputs it takes, targets and shares, and the buffers it fills."""

    def __init__(self, lowering: Lowering, loss: Loss, number: int) -> None:
        self.lowering = lowering
        self.builder = lowering.builder
        self.batch = lowering.batch
        self.name = "loss" if number == 0 else f"loss{number + 1}"
        self.names = loss.outputs
        self.shapes = tuple(lowering.graph.shapes[name] for name in loss.outputs)
        self.outputs = tuple(
            lowering.in_layout(name, "channels-last", shape, layer=self.name, phase="forward")
            for name, shape in zip(self.names, self.shapes, strict=True)
        )
        self.target = None if loss.target is None else target_buffer(loss.target)
        self.shares = shares_buffer(number)
        """Buffer (batch, 1): each sample's part of the mean, times the loss's weight."""
        self.losses = loss_buffer(number)
        """Buffer (batch, 1): shares times the loss of each sample."""

    @property
    def dtype(self) -> DTypeName:
        return self.builder.dtype

    def buffer(self, suffix: str, shape: Shape) -> str:
        """Declare a further buffer of the loss, of ``shape`` as it is."""
        return self.builder.buffer(f"{self.name}:{suffix}", shape)

    def gradient(self, number: int = 0) -> str:
        """Declare the buffer of the gradient by an output, which the loss writes next."""
        name = self.builder.fresh(f"grad:{self.names[number]}")
        return self.builder.buffer(name, (self.batch, *self.shapes[number]))

    def contribute(self, buffer: str, number: int = 0) -> None:
        """``buffer``, once the launches so far are done, holds the gradient by an output."""
        self.lowering.contribute(self.names[number], buffer, layer=self.name)

    def launch(self, kernel: Kernel, **arguments: str) -> None:
        """Append a launch of the loss."""
        self.builder.launch(kernel, layer=self.name, phase="forward", part="others", **arguments)


def target_buffer(target: str) -> str:
    """The buffer of a batch's targets. No layer can have such a name."""
    return f"target:{target}"


def shares_buffer(loss: int) -> str:
    """The buffer of the samples' shares of a loss."""
    return f"shares:{loss}"


def loss_buffer(loss: int) -> str:
    """The buffer of a loss by sample."""
    return f"loss:{loss}"


@singledispatch
def part_of(layer: Layer) -> Part:
    """Which part of a step the layer's launches belong to."""
    return part_of(layer) if load_rules(type(layer)) else "others"


@singledispatch
def lower_forward_of(layer: Layer, site: Site) -> None:
    """Launch what computes the layer's output. One rule for each kind of layer."""
    if not load_rules(type(layer)):
        raise NotImplementedError(f"no kernels for layer {site.name!r} of type {type(layer).__name__}")
    lower_forward_of(layer, site)


@singledispatch
def lower_backward_of(layer: Layer, site: Site) -> None:
    """Launch what computes the gradients by parameters and by the inputs that ``site.needs``."""
    if not load_rules(type(layer)):
        raise NotImplementedError(f"no kernels for the gradient of layer {site.name!r} of type {type(layer).__name__}")
    lower_backward_of(layer, site)


@singledispatch
def lower_loss_of(loss: Loss, site: LossSite) -> None:
    """Launch what computes a loss of every sample and its gradients."""
    if not load_rules(type(loss)):
        raise NotImplementedError(f"no kernels for the loss {type(loss).__name__}")
    lower_loss_of(loss, site)
