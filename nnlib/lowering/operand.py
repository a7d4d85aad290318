"""A second operand that is the same for all samples, lowered."""

from __future__ import annotations

from nnlib.kernels.pointwise.broadcasting import Broadcast, BroadcastFunction, Repeat
from nnlib.layers.layer import Shape
from nnlib.layers.operand import Operand
from nnlib.lowering.axis_sums import reduce_axes
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: Operand, site: Site) -> None:
    x, value = _sample(site), _value(layer, site)
    names = (site.variable("value"), site.input) if layer.first else (site.input, site.variable("value"))
    shapes = (value, x) if layer.first else (x, value)
    kernel = Broadcast(layer.operation, *shapes, site.dtype)
    site.launch(kernel, x=names[0], y=names[1], z=site.output())


@lower_backward_of.register
def _(layer: Operand, site: Site) -> None:
    _summed(site, _by_value(layer, site), _value(layer, site), value=True)
    if site.needs[0]:
        _summed(site, _by_input(layer, site), _sample(site), value=False)


def _by_input(layer: Operand, site: Site) -> str:
    """The gradient by the input before it is summed over what it was repeated along: a buffer of the output's shape."""
    grad, value = site.grad_output, site.variable("value")
    match layer.operation:
        case "add":
            return grad
        case "subtract":
            return _scaled(site, grad, -1.0, "by_input") if layer.first else grad
        case "multiply":
            return _with(site, "multiply", grad, value, _value(layer, site), "by_input")
        case "divide" if not layer.first:
            return _with(site, "divide", grad, value, _value(layer, site), "by_input")
        case "divide":  # value / x: -grad · y / x
            return _minus_quotient(site, grad, site.input, _sample(site), "by_input")


def _by_value(layer: Operand, site: Site) -> str:
    """The same for the value."""
    grad, x = site.grad_output, site.input
    match layer.operation:
        case "add":
            return grad
        case "subtract":
            return grad if layer.first else _scaled(site, grad, -1.0, "by_value")
        case "multiply":
            return _with(site, "multiply", grad, x, _sample(site), "by_value")
        case "divide" if layer.first:
            return _with(site, "divide", grad, x, _sample(site), "by_value")
        case "divide":  # x / value: -grad · y / value
            return _minus_quotient(site, grad, site.variable("value"), _value(layer, site), "by_value")


def _minus_quotient(site: Site, grad: str, divisor: str, shape: Shape, name: str) -> str:
    product = _with(site, "multiply", grad, site.name, _whole(site), f"{name}.product")
    return _scaled(site, _with(site, "divide", product, divisor, shape, f"{name}.quotient"), -1.0, name)


def _summed(site: Site, source: str, target: Shape, *, value: bool) -> None:
    """Write the sum of ``source`` over the axes along which ``target`` was repeated as the gradient that it is."""
    if target != _whole(site):
        total = reduce_axes(
            site,
            source,
            _whole(site),
            target,
            function="sum",
            out=lambda: site.parameter_gradient("value") if value else site.input_gradient(),
            what="value_sums." if value else "sums.",
        )
        if not value:
            site.contribute(total)
    elif value:
        site.launch(Repeat(target, target, site.dtype), x=source, y=site.parameter_gradient("value"))
    elif source == site.grad_output:
        site.pass_gradient()
    else:
        site.contribute(source)


def _with(site: Site, function: BroadcastFunction, source: str, other: str, shape: Shape, name: str) -> str:
    target = site.buffer(name, _whole(site))
    site.launch(Broadcast(function, _whole(site), shape, site.dtype), x=source, y=other, z=target)
    return target


def _scaled(site: Site, source: str, factor: float, name: str) -> str:
    target = site.buffer(name, _whole(site))
    site.launch(Repeat(_whole(site), _whole(site), site.dtype, factor), x=source, y=target)
    return target


def _whole(site: Site) -> Shape:
    return (site.batch, *site.out_shape)


def _sample(site: Site) -> Shape:
    """The input's shape, batch in front."""
    return (site.batch, *site.in_shape)


def _value(layer: Operand, site: Site) -> Shape:
    """The value's shape with as many axes as a batch of inputs has."""
    return (1,) * (len(site.in_shape) + 1 - len(layer.shape)) + layer.shape
