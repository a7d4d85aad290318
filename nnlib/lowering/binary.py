"""Layers of two inputs and more, lowered: kernels repeat what is shorter, and its gradient is summed."""

from __future__ import annotations

from nnlib.kernels.pointwise.broadcasting import Broadcast, BroadcastFunction, Repeat
from nnlib.layers.binary import Add, Divide, Multiply, Subtract, aligned_shapes
from nnlib.layers.layer import Shape
from nnlib.lowering.axis_sums import reduce_axes
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: Add, site: Site) -> None:
    if len(site.in_shapes) == 1:
        site.output_is(site.input_as(site.layout()))
        return
    shapes = _shapes(site)
    alike = all(each == site.out_shape for each in site.in_shapes)
    layout = site.layout() if alike else "channels-last"
    total, shape = site.input_as(layout), shapes[0]
    for number in range(1, len(shapes)):
        kernel = Broadcast("add", shape, shapes[number], site.dtype)
        shape = kernel.result
        last = number == len(shapes) - 1
        target = site.output(layout) if last else site.buffer(f"sum{number}", shape)
        site.launch(kernel, x=total, y=site.input_as(layout, number), z=target)
        total = target


@lower_backward_of.register
def _(layer: Add, site: Site) -> None:
    for number, shape in enumerate(site.in_shapes):
        if not site.needs[number]:
            continue
        if shape == site.out_shape:
            site.pass_gradient(number)
        else:
            _contribute(site, site.grad_output, number)


@lower_forward_of.register(Subtract)
@lower_forward_of.register(Multiply)
@lower_forward_of.register(Divide)
def _(layer: Subtract | Multiply | Divide, site: Site) -> None:
    functions: dict[type, BroadcastFunction] = {Subtract: "subtract", Multiply: "multiply", Divide: "divide"}
    x, y = _shapes(site)
    kernel = Broadcast(functions[type(layer)], x, y, site.dtype)
    site.launch(kernel, x=site.inputs[0], y=site.inputs[1], z=site.output())


@lower_backward_of.register
def _(layer: Subtract, site: Site) -> None:
    if site.needs[0]:
        _contribute(site, site.grad_output, 0)
    if site.needs[1]:
        _contribute(site, _negative(site, site.grad_output), 1)


@lower_backward_of.register
def _(layer: Multiply, site: Site) -> None:
    for number in range(2):
        if site.needs[number]:
            other = site.inputs[1 - number]
            _contribute(site, _with(site, "multiply", site.grad_output, other, 1 - number, f"part{number}"), number)


@lower_backward_of.register
def _(layer: Divide, site: Site) -> None:
    quotient = _with(site, "divide", site.grad_output, site.inputs[1], 1, "part0")
    if site.needs[0]:
        _contribute(site, quotient, 0)
    if site.needs[1]:
        shape = _whole(site)
        product = site.buffer("part1", shape)
        site.launch(Broadcast("multiply", shape, shape, site.dtype), x=quotient, y=site.name, z=product)
        _contribute(site, _negative(site, product), 1)


def _shapes(site: Site) -> list[Shape]:
    """The inputs' shapes, batch in front, with as many axes each."""
    return [(site.batch, *shape) for shape in aligned_shapes(site.in_shapes)]


def _whole(site: Site) -> Shape:
    return (site.batch, *site.out_shape)


def _negative(site: Site, source: str) -> str:
    """A buffer with the numbers of another of the output's shape, their signs changed."""
    shape = _whole(site)
    target = site.buffer("negative", shape)
    site.launch(Repeat(shape, shape, site.dtype, -1.0), x=source, y=target)
    return target


def _with(site: Site, function: BroadcastFunction, source: str, other: str, number: int, name: str) -> str:
    """A buffer of the output's shape: another of it, and input ``number``."""
    kernel = Broadcast(function, _whole(site), _shapes(site)[number], site.dtype)
    target = site.buffer(name, _whole(site))
    site.launch(kernel, x=source, y=other, z=target)
    return target


def _contribute(site: Site, source: str, number: int) -> None:
    """The gradient by an input from one of the output's shape: its sum over the axes along which it was repeated."""
    target = _shapes(site)[number]
    if target != _whole(site):
        source = reduce_axes(
            site,
            source,
            _whole(site),
            target,
            function="sum",
            out=lambda: site.input_gradient(number),
            what=f"sums{number}.",
        )
        site.contribute(source, number)
    elif source == site.grad_output:
        site.pass_gradient(number)
    else:
        site.contribute(source, number)
