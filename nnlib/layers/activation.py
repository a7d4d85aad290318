"""Activation layers without learned numbers: one function of each number.

Backward gets what :mod:`nnlib.ops.activation` says that the function needs, the input or the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final, Protocol

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, only_input
from nnlib.ops.activation import ACTIVATIONS, ActivationName

NONE: Final[Mapping[str, float]] = MappingProxyType({})


class Pointwise(Protocol):
    """A layer that is one function of :mod:`nnlib.ops.activation`, with its ``options``."""

    @property
    def name(self) -> str:
        """The layer's name."""

    @property
    def function(self) -> ActivationName:
        """The function's name."""

    @property
    def options(self) -> Mapping[str, float]:
        """The function's numbers by name, in its order."""


def _output_shape(self: Pointwise, input_shapes: tuple[Shape, ...]) -> Shape:
    """The input's."""
    return only_input(self.name, input_shapes)


def _forward(self: Pointwise, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
    """The function, and what backward needs of it."""
    (x,) = inputs
    activation = ACTIVATIONS[self.function]
    y = activation.forward(x, **self.options)
    return y, y if activation.saves == "output" else x


def _backward(
    self: Pointwise, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
    """The function's gradient."""
    if not needs[0]:
        return (None,), {}
    return (ACTIVATIONS[self.function].backward(saved, grad_output, **self.options),), {}


class ReLU(Layer):
    """``max(x, 0)``; the gradient at 0 is 0."""

    function: ClassVar[ActivationName] = "relu"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """``x`` above 0, ``slope·x`` below."""

    slope: float = 0.01
    function: ClassVar[ActivationName] = "leaky_relu"

    @property
    def options(self) -> Mapping[str, float]:
        return {"slope": self.slope}

    output_shape, forward, backward = _output_shape, _forward, _backward


@dataclass(frozen=True)
class ELU(Layer):
    """``x`` above 0, ``alpha·(eˣ − 1)`` below; ``alpha`` is not below 0."""

    alpha: float = 1.0
    function: ClassVar[ActivationName] = "elu"

    @property
    def options(self) -> Mapping[str, float]:
        return {"alpha": self.alpha}

    output_shape, forward, backward = _output_shape, _forward, _backward


class SELU(Layer):
    """A scaled ELU with which activations keep mean 0 and variance 1."""

    function: ClassVar[ActivationName] = "selu"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class ReLU6(Layer):
    """``min(max(x, 0), 6)``."""

    function: ClassVar[ActivationName] = "relu6"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


@dataclass(frozen=True)
class ClippedReLU(Layer):
    """``min(max(x, 0), limit)``."""

    limit: float = 20.0
    function: ClassVar[ActivationName] = "clipped_relu"

    @property
    def options(self) -> Mapping[str, float]:
        return {"ceiling": self.limit}

    output_shape, forward, backward = _output_shape, _forward, _backward


class HardSigmoid(Layer):
    """``min(max(x + 3, 0), 6)/6``."""

    function: ClassVar[ActivationName] = "hard_sigmoid"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class HardSwish(Layer):
    """``x·min(max(x + 3, 0), 6)/6``."""

    function: ClassVar[ActivationName] = "hard_swish"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class Sigmoid(Layer):
    """``1/(1 + e⁻ˣ)``."""

    function: ClassVar[ActivationName] = "sigmoid"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class Tanh(Layer):
    """The hyperbolic tangent."""

    function: ClassVar[ActivationName] = "tanh"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


@dataclass(frozen=True)
class GELU(Layer):
    """``x·Φ(x)`` with the standard normal distribution Φ, or ``approximate`` by a tanh."""

    approximate: bool = False
    options: ClassVar[Mapping[str, float]] = NONE

    @property
    def function(self) -> ActivationName:
        return "gelu_tanh" if self.approximate else "gelu"

    output_shape, forward, backward = _output_shape, _forward, _backward


class SiLU(Layer):
    """``x/(1 + e⁻ˣ)``."""

    function: ClassVar[ActivationName] = "silu"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class Softplus(Layer):
    """``log(1 + eˣ)``."""

    function: ClassVar[ActivationName] = "softplus"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class Erf(Layer):
    """The error function."""

    function: ClassVar[ActivationName] = "erf"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class Exp(Layer):
    """``eˣ``."""

    function: ClassVar[ActivationName] = "exp"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class Log(Layer):
    """The natural logarithm."""

    function: ClassVar[ActivationName] = "log"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class Sqrt(Layer):
    """The square root."""

    function: ClassVar[ActivationName] = "sqrt"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class Square(Layer):
    """``x²``."""

    function: ClassVar[ActivationName] = "square"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class Reciprocal(Layer):
    """``1/x``."""

    function: ClassVar[ActivationName] = "reciprocal"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


class Abs(Layer):
    """``|x|``; the gradient at 0 is 0."""

    function: ClassVar[ActivationName] = "absolute"
    options: ClassVar[Mapping[str, float]] = NONE
    output_shape, forward, backward = _output_shape, _forward, _backward


POINTWISE: Final = (
    ReLU,
    LeakyReLU,
    ELU,
    SELU,
    ReLU6,
    ClippedReLU,
    HardSigmoid,
    HardSwish,
    Sigmoid,
    Tanh,
    GELU,
    SiLU,
    Softplus,
    Exp,
    Erf,
    Log,
    Sqrt,
    Square,
    Reciprocal,
    Abs,
)
"""The classes of this file."""
