"""Functions of single numbers, and of two arrays number by number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from nnlib.importers.onnx.aligning import Kind, aligned, operand
from nnlib.importers.onnx.importer import Importer, attribute, rule
from nnlib.importers.onnx.products import scalar
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported
from nnlib.layers.activation import (
    ELU,
    GELU,
    SELU,
    Abs,
    ClippedReLU,
    Erf,
    Exp,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    Log,
    Reciprocal,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Sqrt,
    Square,
    Tanh,
)
from nnlib.layers.binary import Add, Divide, Multiply, Subtract
from nnlib.layers.dropout import Dropout
from nnlib.layers.layer import Layer
from nnlib.layers.prelu import PReLU
from nnlib.layers.scale import Scale
from nnlib.layers.softmax import LogSoftmax, Softmax

PLAIN: Final[dict[str, Callable[[str], Layer]]] = {
    "Relu": ReLU,
    "Sigmoid": Sigmoid,
    "Tanh": Tanh,
    "Erf": Erf,
    "Exp": Exp,
    "Log": Log,
    "Sqrt": Sqrt,
    "Abs": Abs,
    "Reciprocal": Reciprocal,
    "Softplus": Softplus,
    "HardSwish": HardSwish,
    "Neg": partial(Scale, factor=-1.0, offset=0.0),
}


FLOATS: Final = (1, 10, 11, 16)
"""ONNX's numbers of FLOAT, FLOAT16, DOUBLE and BFLOAT16."""


@rule(*PLAIN)
def plain(importer: Importer, operator: Operator) -> None:
    _unary(importer, operator, PLAIN[operator.type])


@rule("LeakyRelu")
def leaky(importer: Importer, operator: Operator) -> None:
    _unary(importer, operator, partial(LeakyReLU, slope=attribute(operator, "alpha", 0.01)))


@rule("Elu")
def elu(importer: Importer, operator: Operator) -> None:
    _unary(importer, operator, partial(ELU, alpha=attribute(operator, "alpha", 1.0)))


@rule("Selu")
def selu(importer: Importer, operator: Operator) -> None:
    alpha, gamma = attribute(operator, "alpha", 1.67326319), attribute(operator, "gamma", 1.05070102)
    if abs(alpha - 1.67326319) < 1e-6 and abs(gamma - 1.05070102) < 1e-6:
        _unary(importer, operator, SELU)
    else:
        _chain(importer, operator, partial(ELU, alpha=alpha), partial(Scale, factor=gamma))


@rule("Celu")
def celu(importer: Importer, operator: Operator) -> None:
    alpha = attribute(operator, "alpha", 1.0)
    _chain(importer, operator, partial(Scale, factor=1.0 / alpha), ELU, partial(Scale, factor=alpha))


@rule("HardSigmoid")
def hard_sigmoid(importer: Importer, operator: Operator) -> None:
    slope, offset = attribute(operator, "alpha", 0.2), attribute(operator, "beta", 0.5)
    if abs(slope - 1 / 6) < 1e-6 and abs(offset - 0.5) < 1e-6:
        _unary(importer, operator, HardSigmoid)
    else:
        _chain(importer, operator, partial(Scale, factor=slope, offset=offset), partial(ClippedReLU, limit=1.0))


@rule("Swish")
def swish(importer: Importer, operator: Operator) -> None:
    x, alpha = importer.tensor(operator), attribute(operator, "alpha", 1.0)
    if alpha == 1:
        _unary(importer, operator, SiLU)
    else:
        scaled = importer.add(operator, partial(Scale, factor=alpha), x, like=x, suffix="scaled")
        gate = importer.add(operator, Sigmoid, scaled, like=x, suffix="gate")
        importer.set(operator, importer.add(operator, Multiply, x, gate, like=x))


@rule("Mish")
def mish(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    gate = importer.add(operator, Softplus, x, like=x, suffix="softplus")
    gate = importer.add(operator, Tanh, gate, like=x, suffix="gate")
    importer.set(operator, importer.add(operator, Multiply, x, gate, like=x))


@rule("Softsign")
def softsign(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    size = importer.add(operator, Abs, x, like=x, suffix="size")
    size = importer.add(operator, partial(Scale, offset=1.0), size, like=x, suffix="divisor")
    importer.set(operator, importer.add(operator, Divide, x, size, like=x))


@rule("Gelu")
def gelu(importer: Importer, operator: Operator) -> None:
    _unary(importer, operator, partial(GELU, approximate=attribute(operator, "approximate", "none") == "tanh"))


@rule("PRelu")
def prelu(importer: Importer, operator: Operator) -> None:
    x, slope = importer.tensor(operator), importer.known(operator, 1)
    long = [axis for axis, length in enumerate(slope.array.shape, x.rank - slope.array.ndim) if length != 1]
    if long == [1]:
        x = importer.channels_last(operator, x)
        weights = {"slope": slope.reshaped((x.stored[-1],))}
        importer.set(operator, importer.add(operator, PReLU, x, like=x, weights=weights))
        return
    above = importer.add(operator, ReLU, x, like=x, suffix="above")
    turned = importer.add(operator, partial(Scale, factor=-1.0), x, like=x, suffix="turned")
    below = importer.add(operator, ReLU, turned, like=x, suffix="below")
    below = operand(importer, operator, below, slope, "multiply", first=False, suffix="slope")
    above, below = aligned(importer, operator, above, below)
    importer.set(operator, importer.add(operator, Subtract, above, below, like=above))


@rule("Softmax", "LogSoftmax")
def softmax(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    kind = Softmax if operator.type == "Softmax" else LogSoftmax
    place = x.axis(attribute(operator, "axis", -1))
    importer.set(operator, importer.add(operator, partial(kind, axis=place), x, like=x))


@rule("Dropout")
def dropout(importer: Importer, operator: Operator) -> None:
    ratio = importer.fixed(operator, 1)
    rate = 0.5 if ratio is None else scalar(ratio)
    if rate == 0:
        importer.set(operator, importer.tensor(operator))
    else:
        _unary(importer, operator, partial(Dropout, rate=rate))


@rule("Identity")
def same(importer: Importer, operator: Operator) -> None:
    importer.set(operator, importer.values[operator.inputs[0]])


@rule("Cast", "CastLike")
def cast(importer: Importer, operator: Operator) -> None:
    """Between precisions, which are the run's business; whole numbers stay whole numbers."""
    x = importer.tensor(operator)
    if operator.type == "CastLike":
        like = importer.values[operator.inputs[1]]
        whole = like.integer if isinstance(like, Tensor) else like.array.dtype.kind != "f"
    else:
        whole = operator.attributes["to"] not in FLOATS
    if whole != x.integer:
        kinds = ("whole numbers", "fractions") if x.integer else ("fractions", "whole numbers")
        raise Unsupported("it makes {1} of {0}".format(*kinds))
    importer.set(operator, x)


@rule("Pow")
def power(importer: Importer, operator: Operator) -> None:
    exponent = scalar(importer.known(operator, 1))
    x = importer.tensor(operator)
    if exponent == 3:
        square = importer.add(operator, Square, x, like=x, suffix="square")
        importer.set(operator, importer.add(operator, Multiply, square, x, like=x))
        return
    kinds: dict[float, Callable[[str], Layer]] = {2: Square, 0.5: Sqrt, -1: Reciprocal}
    if exponent not in kinds:
        raise Unsupported(f"its exponent is {exponent:g}; -1, 0.5, 2 and 3 are known")
    _unary(importer, operator, kinds[exponent])


@rule("Add", "Sub", "Mul", "Div", "Sum")
def binary(importer: Importer, operator: Operator) -> None:
    if len(operator.inputs) > 2:
        _sum(importer, operator)
        return
    if len(operator.inputs) == 1:
        same(importer, operator)
        return
    a, b = (importer.values[name] for name in operator.inputs)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        importer.set(operator, _of_two(importer, operator, a, b))
    elif isinstance(a, Tensor) and isinstance(b, Fixed):
        importer.set(operator, with_fixed(importer, operator, a, b, first=False))
    elif isinstance(a, Fixed) and isinstance(b, Tensor):
        importer.set(operator, with_fixed(importer, operator, b, a, first=True))


def _sum(importer: Importer, operator: Operator) -> None:
    """Arrays that samples decide come first, so that each sum is one of a layer."""
    values = sorted((importer.values[name] for name in operator.inputs), key=lambda each: isinstance(each, Fixed))
    total = values[0]
    for other in values[1:]:
        assert isinstance(total, Tensor)
        if isinstance(other, Tensor):
            total = _of_two(importer, operator, total, other)
        else:
            total = with_fixed(importer, operator, total, other, first=False)
    importer.set(operator, total)


KINDS: Final[dict[str, Kind]] = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide", "Sum": "add"}
LAYERS: Final[dict[Kind, Callable[[str], Layer]]] = {
    "add": Add,
    "subtract": Subtract,
    "multiply": Multiply,
    "divide": Divide,
}


def _of_two(importer: Importer, operator: Operator, a: Tensor, b: Tensor) -> Tensor:
    a, b = aligned(importer, operator, a, b)
    return importer.add(operator, LAYERS[KINDS[operator.type]], a, b, like=a)


def with_fixed(importer: Importer, operator: Operator, x: Tensor, fixed: Fixed, *, first: bool) -> Tensor:
    """A sum, difference, product or quotient with an array that is known beforehand."""
    kind = KINDS[operator.type]
    if fixed.array.size == 1 and fixed.weight is None and fixed.array.ndim <= x.rank:
        value = scalar(fixed)
        factors = {
            ("add", False): (1.0, value),
            ("add", True): (1.0, value),
            ("subtract", False): (1.0, -value),
            ("subtract", True): (-1.0, value),
            ("multiply", False): (value, 0.0),
            ("multiply", True): (value, 0.0),
            ("divide", False): (1.0 / value if value else np.inf, 0.0),
        }
        factor, offset = factors.get((kind, first), (np.inf, 0.0))
        if np.isfinite(factor) and np.isfinite(offset):
            return importer.add(operator, partial(Scale, factor=factor, offset=offset), x, like=x)
    return operand(importer, operator, x, fixed, kind, first=first)


def _unary(importer: Importer, operator: Operator, make: Callable[[str], Layer]) -> None:
    x = importer.tensor(operator)
    importer.set(operator, importer.add(operator, make, x, like=x))


def _chain(importer: Importer, operator: Operator, *makes: Callable[[str], Layer]) -> None:
    """Layers one behind the other."""
    x = importer.tensor(operator)
    for make in makes:
        x = importer.add(operator, make, x, like=x)
    importer.set(operator, x)
