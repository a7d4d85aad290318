"""Functions of single numbers, and of two arrays number by number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from nnlib.importers.onnx.importer import Importer, attribute, rule
from nnlib.importers.onnx.products import scalar
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported
from nnlib.layers import (
    ELU,
    GELU,
    SELU,
    Abs,
    Add,
    ClippedReLU,
    Divide,
    Dropout,
    Erf,
    Exp,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    Log,
    LogSoftmax,
    Multiply,
    Operand,
    PReLU,
    Reciprocal,
    ReLU,
    ReLU6,
    Scale,
    Sigmoid,
    Softmax,
    Softplus,
    Sqrt,
    Square,
    Subtract,
    Tanh,
)
from nnlib.layers.layer import Layer

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
    if operator.attributes:
        raise Unsupported("its constants are not the usual ones")
    _unary(importer, operator, SELU)


@rule("HardSigmoid")
def hard_sigmoid(importer: Importer, operator: Operator) -> None:
    slope, offset = attribute(operator, "alpha", 0.2), attribute(operator, "beta", 0.5)
    if abs(slope - 1 / 6) > 1e-6 or abs(offset - 0.5) > 1e-6:
        raise Unsupported(f"its slope and offset are {slope:.4g} and {offset:.4g}, 1/6 and 1/2 are known")
    _unary(importer, operator, HardSigmoid)


@rule("Gelu")
def gelu(importer: Importer, operator: Operator) -> None:
    _unary(importer, operator, partial(GELU, approximate=attribute(operator, "approximate", "none") == "tanh"))


@rule("PRelu")
def prelu(importer: Importer, operator: Operator) -> None:
    x, slope = importer.channels_last(operator, importer.tensor(operator)), importer.known(operator, 1)
    channels = x.stored[-1]
    if slope.array.size not in (1, channels):
        raise Unsupported(f"its slope has the shape {slope.array.shape}")
    # one slope for all becomes one for each channel: not the same to learn, so it is not learned
    wide = Fixed(np.broadcast_to(slope.array.reshape(-1), (channels,)))
    weight = Fixed(slope.array.reshape(-1), slope.weight) if slope.array.size == channels else wide
    importer.set(operator, importer.add(operator, PReLU, x, order=x.order, weights={"slope": weight}))


@rule("Clip")
def clip(importer: Importer, operator: Operator) -> None:
    low, high = importer.fixed(operator, 1), importer.fixed(operator, 2)
    if low is None or scalar(low) != 0:
        raise Unsupported("it clips from below at another number than 0")
    limit = np.inf if high is None else scalar(high)
    if not limit < 1e38:
        _unary(importer, operator, ReLU)
    elif limit == 6:
        _unary(importer, operator, ReLU6)
    else:
        _unary(importer, operator, partial(ClippedReLU, limit=limit))


@rule("Softmax", "LogSoftmax")
def softmax(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    kind = Softmax if operator.type == "Softmax" else LogSoftmax
    place = x.axis(attribute(operator, "axis", -1))
    importer.set(operator, importer.add(operator, partial(kind, axis=place), x, order=x.order))


@rule("Dropout")
def dropout(importer: Importer, operator: Operator) -> None:
    ratio = importer.fixed(operator, 1)
    rate = 0.5 if ratio is None else scalar(ratio)
    if rate == 0:
        importer.set(operator, importer.tensor(operator))
    else:
        _unary(importer, operator, partial(Dropout, rate=rate))


@rule("Identity", "Cast")
def same(importer: Importer, operator: Operator) -> None:
    value = importer.values[operator.inputs[0]]
    importer.set(operator, value)


@rule("Pow")
def power(importer: Importer, operator: Operator) -> None:
    exponent = scalar(importer.known(operator, 1))
    x = importer.tensor(operator)
    if exponent == 3:
        square = importer.add(operator, Square, x, order=x.order, suffix="square")
        importer.set(operator, importer.add(operator, Multiply, square, x, order=x.order))
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


@rule("Where")
def where(importer: Importer, operator: Operator) -> None:
    """A mask that is the same for all samples: other numbers, known beforehand, in some places."""
    mask = importer.known(operator, 0).array.astype(bool)
    a, b = (importer.values[name] for name in operator.inputs[1:])
    if isinstance(a, Fixed) == isinstance(b, Fixed):
        raise Unsupported("it chooses between two arrays that both depend on the samples")
    x, other, kept = (a, b, mask) if isinstance(a, Tensor) else (b, a, ~mask)
    assert isinstance(x, Tensor)
    assert isinstance(other, Fixed)
    dtype = other.array.dtype
    with np.errstate(invalid="ignore"):
        added = np.where(
            kept, dtype.type(0), np.broadcast_to(other.array, np.broadcast_shapes(kept.shape, other.array.shape))
        )
    if np.isneginf(added[~np.broadcast_to(kept, added.shape)]).all():
        importer.set(operator, _operand(importer, operator, x, Fixed(added), "add", first=False))
        return
    factor = Fixed(kept.astype(dtype))
    masked = _operand(importer, operator, x, factor, "multiply", first=False, suffix="mask")
    importer.set(operator, _operand(importer, operator, masked, Fixed(added), "add", first=False))


def _sum(importer: Importer, operator: Operator) -> None:
    total = importer.values[operator.inputs[0]]
    for name in operator.inputs[1:]:
        other = importer.values[name]
        if not (isinstance(total, Tensor) and isinstance(other, Tensor)):
            raise Unsupported("it adds more than two arrays, some of them known beforehand")
        total = _of_two(importer, operator, total, other)
    importer.set(operator, total)


KINDS: Final = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide", "Sum": "add"}
LAYERS: Final[dict[str, Callable[[str], Layer]]] = {
    "add": Add,
    "subtract": Subtract,
    "multiply": Multiply,
    "divide": Divide,
}


def _of_two(importer: Importer, operator: Operator, a: Tensor, b: Tensor) -> Tensor:
    if a.rank != b.rank:
        wide, narrow = (a, b) if a.rank > b.rank else (b, a)
        raise Unsupported(f"its arrays have the shapes {wide.shape} and {narrow.shape}")
    b = importer.reordered(operator, b, a.order)
    return importer.add(operator, LAYERS[KINDS[operator.type]], a, b, order=a.order)


def with_fixed(importer: Importer, operator: Operator, x: Tensor, fixed: Fixed, *, first: bool) -> Tensor:
    """A sum, difference, product or quotient with an array that is known beforehand."""
    kind = KINDS[operator.type]
    if fixed.array.size == 1 and fixed.weight is None and fixed.array.ndim <= x.rank:
        value = scalar(fixed)
        if kind in ("add", "multiply") or not first:
            factor, offset = {
                "add": (1.0, value),
                "subtract": (1.0, -value),
                "multiply": (value, 0.0),
                "divide": (1.0 / value if value else np.inf, 0.0),
            }[kind]
            if np.isfinite(factor):
                return importer.add(operator, lambda name: Scale(name, factor, offset), x, order=x.order)
    return _operand(importer, operator, x, fixed, kind, first=first)


def _operand(
    importer: Importer, operator: Operator, x: Tensor, fixed: Fixed, kind: str, *, first: bool, suffix: str = ""
) -> Tensor:
    """An array of the file as the second operand, its axes as those of ``x`` lie."""
    ahead = x.rank - fixed.array.ndim
    if ahead < 0:
        raise Unsupported(f"it broadcasts {x.shape} to {fixed.array.shape}")
    wide = fixed.array.reshape((1,) * ahead + fixed.array.shape)
    if wide.shape[x.batch_axis] != 1:
        raise Unsupported(f"its array {fixed.array.shape} has a number for each sample")
    laid = np.ascontiguousarray(wide.transpose(x.order)[0])
    while laid.ndim > 1 and laid.shape[0] == 1:
        laid = laid[0]
    # the parameter is the initialiser itself only where no axis had to move
    moved = tuple(axis for axis in x.order[1:] if wide.shape[axis] != 1)
    weight = fixed.weight if moved == tuple(sorted(moved)) and laid.shape == fixed.array.shape else None
    if fixed.weight is not None and weight is None:
        axes = tuple(axis - ahead for axis in x.order if axis >= ahead)
        weight = fixed.transposed(axes).weight if laid.shape == fixed.array.transpose(axes).shape else None
    value = Fixed(laid, weight)
    return importer.add(
        operator,
        lambda name: Operand(name, kind, laid.shape, first),  # type: ignore[arg-type]
        x,
        order=x.order,
        weights={"value": value},
        suffix=suffix,
    )


def _unary(importer: Importer, operator: Operator, make: Callable[[str], Layer]) -> None:
    x = importer.tensor(operator)
    importer.set(operator, importer.add(operator, make, x, order=x.order))
