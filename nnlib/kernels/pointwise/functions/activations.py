"""Activations and their gradients.

The SW26010 has no instruction for exponentials, logarithms and error functions. What is made of an exponential counts
it with the machine's cost of one, and a logarithm, whose polynomial is about as long, as one more (an assumption).
A multiply-add, a comparison and a selection count one instruction each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias, cast

from nnlib.kernels.pointwise.functions.definition import Definition, Numbers, Numerics
from nnlib.ops.activation import ACTIVATIONS, Activation, ActivationName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body

GradientName: TypeAlias = Literal[
    "relu_gradient",
    "leaky_relu_gradient",
    "elu_gradient",
    "selu_gradient",
    "relu6_gradient",
    "clipped_relu_gradient",
    "hard_sigmoid_gradient",
    "hard_swish_gradient",
    "sigmoid_gradient",
    "tanh_gradient",
    "gelu_gradient",
    "gelu_tanh_gradient",
    "silu_gradient",
    "erf_gradient",
    "softplus_gradient",
    "exp_gradient",
    "log_gradient",
    "sqrt_gradient",
    "square_gradient",
    "reciprocal_gradient",
    "absolute_gradient",
]


def _instructions(arithmetic: int = 0, divides: int = 0, exponentials: int = 0) -> Body:
    """Of a vector beside its loads and stores."""
    return Body(arithmetic=arithmetic, divides=divides, exponentials=exponentials)


# forward, backward, and flops per element of each, an exponential or a division as one
_COUNTS: Final[Mapping[ActivationName, tuple[Body, Body, int, int]]] = {
    "relu": (_instructions(1), _instructions(2), 0, 0),
    "leaky_relu": (_instructions(3), _instructions(3), 1, 1),
    "elu": (_instructions(4, 0, 1), _instructions(4), 3, 2),
    "selu": (_instructions(5, 0, 1), _instructions(4), 4, 2),
    "relu6": (_instructions(2), _instructions(4), 0, 0),
    "clipped_relu": (_instructions(2), _instructions(4), 0, 0),
    "hard_sigmoid": (_instructions(4), _instructions(5), 2, 1),
    "hard_swish": (_instructions(5), _instructions(6), 3, 3),
    "sigmoid": (_instructions(2, 1, 1), _instructions(3), 4, 3),
    # 1 − 2/(e²ˣ + 1)
    "tanh": (_instructions(3, 1, 1), _instructions(2), 5, 3),
    # in each lane any of the three ranges: polynomials of 9, 16 and 12 multiply-adds, their operands chosen before one
    # division, another for 1/x², and one exponential, which the density of the gradient shares
    "gelu": (_instructions(51, 2, 1), _instructions(55, 2, 1), 4, 8),
    "gelu_tanh": (_instructions(9, 1, 1), _instructions(15, 1, 1), 9, 16),
    "silu": (_instructions(3, 1, 1), _instructions(6, 1, 1), 5, 8),
    "erf": (_instructions(49, 2, 1), _instructions(3, 0, 1), 2, 4),
    "softplus": (_instructions(3, 0, 2), _instructions(3, 1, 1), 4, 4),
    "exp": (_instructions(0, 0, 1), _instructions(1), 1, 1),
    "log": (_instructions(0, 0, 1), _instructions(0, 1), 1, 1),
    # square roots take as long as divisions
    "sqrt": (_instructions(0, 1), _instructions(1, 1), 1, 2),
    "square": (_instructions(1), _instructions(2), 1, 2),
    "reciprocal": (_instructions(0, 1), _instructions(2), 1, 2),
    "absolute": (_instructions(1), _instructions(2), 0, 1),
}
# one rational function of 10 multiply-adds; the density has an exponential of its own
_COUNTS32: Final[Mapping[ActivationName, tuple[Body, Body]]] = {
    "gelu": (_instructions(19, 1), _instructions(24, 1, 1)),
    "erf": (_instructions(17, 1), _instructions(3, 0, 1)),
}


def _with(body: Body, *, loads: int) -> Body:
    """The same with so many loads, and the store of the result."""
    return Body(
        loads=loads,
        stores=1,
        arithmetic=body.arithmetic,
        divides=body.divides,
        exponentials=body.exponentials,
    )


def _forward(activation: Activation) -> Numerics:
    def run(ins: Sequence[Array], outs: Sequence[Array], constants: Numbers) -> None:
        options = dict(zip(activation.options, constants, strict=True))
        activation.forward(ins[0], out=outs[0], **options)

    return run


def _backward(activation: Activation) -> Numerics:
    def run(ins: Sequence[Array], outs: Sequence[Array], constants: Numbers) -> None:
        options = dict(zip(activation.options, constants, strict=True))
        activation.backward(ins[0], ins[1], out=outs[0], **options)

    return run


def _forward_definition(name: ActivationName) -> Definition:
    activation, (body, _, flops, _) = ACTIVATIONS[name], _COUNTS[name]
    single = _COUNTS32.get(name)
    return Definition(
        ("x",),
        ("y",),
        _with(body, loads=1),
        flops,
        (),
        _forward(activation),
        activation.options,
        None if single is None else _with(single[0], loads=1),
    )


def _gradient_definition(name: ActivationName) -> Definition:
    activation, (_, body, _, flops) = ACTIVATIONS[name], _COUNTS[name]
    single = _COUNTS32.get(name)
    return Definition(
        ("y" if activation.saves == "output" else "x", "grad_y"),
        ("grad_x",),
        _with(body, loads=2),
        flops,
        (),
        _backward(activation),
        activation.options,
        None if single is None else _with(single[1], loads=2),
    )


def gradient_name(name: ActivationName) -> GradientName:
    """The function that an activation's gradient is."""
    return cast(GradientName, f"{name}_gradient")


FORWARD: Final[Mapping[str, Definition]] = {name: _forward_definition(name) for name in ACTIVATIONS}
GRADIENTS: Final[Mapping[str, Definition]] = {gradient_name(name): _gradient_definition(name) for name in ACTIVATIONS}
