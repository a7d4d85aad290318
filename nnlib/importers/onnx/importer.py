"""The state of an import: layers so far, what each ONNX name stands for, and the variables' values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from nnlib.graph import Input
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported, Value, Weight
from nnlib.layers.arrangement import Concatenate, Reshape, Select, Slice, Transpose
from nnlib.layers.embedding import Embedding
from nnlib.layers.layer import Array, Layer, Shape, ShapeError
from nnlib.models.network import Network


@dataclass(frozen=True)
class Origin:
    """Where a parameter comes from: ``parameter = initialiser.transpose(axes)``, but for axes of length 1."""

    initialiser: str
    axes: tuple[int, ...]


class Importer:
    """Collects the layers of a network over ``inputs`` as the file has them.

    ``batch``: the samples that the file's own shapes speak of. ``channels_last``: images come in as (H, W, C).
    """

    def __init__(self, inputs: tuple[Input, ...], *, batch: int, channels_last: bool) -> None:
        orders = {
            each.name: (0, 2, 3, 1) if channels_last and len(each.shape) == 3 else tuple(range(len(each.shape) + 1))
            for each in inputs
        }
        laid = tuple(
            Input(each.name, tuple(each.shape[axis - 1] for axis in orders[each.name][1:]), each.integer)
            for each in inputs
        )
        self.network = Network(inputs=laid)
        self.batch = batch
        self.shapes: dict[str, Shape] = {each.name: each.shape for each in laid}
        self.values: dict[str, Value] = {
            each.name: Tensor(each.name, orders[each.name], (batch, *each.shape), integer=each.integer) for each in laid
        }
        self.variables: dict[str, Array] = {}
        self.origins: dict[str, Origin] = {}
        self.used: set[str] = set()
        """Names that some operator takes, or that are outputs of the file."""
        self.places: dict[str, Place] = {}
        """By initialiser the parameter that it is."""

    def tensor(self, operator: Operator, number: int = 0) -> Tensor:
        """An input that samples decide. Raises Unsupported where it is an array known beforehand."""
        value = self.values[operator.inputs[number]]
        if isinstance(value, Fixed):
            raise Unsupported(f"its input {number} is the same for all samples")
        return value

    def fixed(self, operator: Operator, number: int) -> Fixed | None:
        """An input known beforehand, None where it is left out. Raises Unsupported where samples decide it."""
        if len(operator.inputs) <= number or not operator.inputs[number]:
            return None
        value = self.values[operator.inputs[number]]
        if isinstance(value, Tensor):
            raise Unsupported(f"its input {number} depends on the samples")
        return value

    def known(self, operator: Operator, number: int) -> Fixed:
        """An input known beforehand. Raises Unsupported where there is none."""
        found = self.fixed(operator, number)
        if found is None:
            raise Unsupported(f"its input {number} is missing")
        return found

    def integers(self, operator: Operator, number: int) -> list[int] | None:
        """The numbers of an input known beforehand, None where it is left out."""
        found = self.fixed(operator, number)
        return None if found is None else [int(each) for each in found.array.reshape(-1)]

    def add(
        self,
        operator: Operator,
        make: Callable[[str], Layer],
        *tensors: Tensor,
        like: Tensor | None = None,
        order: tuple[int, ...] = (),
        groups: tuple[int, ...] = (),
        weights: dict[str, Fixed] | None = None,
        suffix: str = "",
    ) -> Tensor:
        """A layer over ``tensors`` with given parameters and statistics.

        Its output's axes lie as those of ``like``, or in ``order`` with ``groups``.
        """
        if like is not None:
            order, groups = like.order, like.groups
        layer = make(self._name(operator, suffix))
        return self._join(layer, tensors, order, groups, weights or {})

    def reordered(self, operator: Operator, tensor: Tensor, order: tuple[int, ...]) -> Tensor:
        """The tensor with its factors in another order. Raises Unsupported if that moves the batch."""
        if tensor.order == order:
            return tensor
        if tensor.order[0] != order[0]:
            raise Unsupported(f"it wants the batch at axis {order[0]}, where axis {tensor.order[0]} is the batch")
        factors = tensor.factors
        if _long(tensor.order, factors) == _long(order, factors):
            return self.reshaped(operator, tensor, tuple(factors[each] for each in order), order, tensor.groups)
        axes = tuple(tensor.order.index(factor) - 1 for factor in order[1:])
        make = partial(Transpose, axes=axes)
        return self.add(operator, make, tensor, order=order, groups=tensor.groups, suffix="order")

    def natural(self, operator: Operator, tensor: Tensor) -> Tensor:
        """The tensor with its factors in ONNX's order behind the batch."""
        batch = tensor.order[0]
        rest = (factor for factor in range(len(tensor.order)) if factor != batch)
        return self.reordered(operator, tensor, (batch, *rest))

    def channels_last(self, operator: Operator, tensor: Tensor) -> Tensor:
        """The tensor with its channels, ONNX axis 1, at the end."""
        if tensor.rank < 2:
            raise Unsupported(f"it wants channels, its input has the shape {tensor.shape}")
        if not tensor.plain:
            raise Unsupported(f"axis {tensor.batch_axis} of its input {tensor.shape} is more than the batch")
        return self.reordered(operator, tensor, (0, *range(2, tensor.rank), 1))

    def reshaped(
        self,
        operator: Operator,
        tensor: Tensor,
        stored: Shape,
        order: tuple[int, ...],
        groups: tuple[int, ...] = (),
    ) -> Tensor:
        """The same numbers under another shape, batch included."""
        if stored == tensor.stored:
            return replace(tensor, order=order, groups=groups)
        make = partial(Reshape, shape=stored[1:])
        return self.add(operator, make, tensor, order=order, groups=groups, suffix="shape")

    def widened(self, operator: Operator, tensor: Tensor, rank: int) -> Tensor:
        """With axes of length 1 in front until there are ``rank``."""
        if tensor.rank >= rank:
            return tensor
        return self.reshaped(operator, tensor, *tensor.unsqueezed(range(rank - tensor.rank)))

    def set(self, operator: Operator, *values: Value) -> None:
        """What the operator's outputs stand for."""
        for name, value in zip(operator.outputs, values, strict=False):
            self.values[name] = value

    def _join(
        self,
        layer: Layer,
        tensors: tuple[Tensor, ...],
        order: tuple[int, ...],
        groups: tuple[int, ...],
        weights: dict[str, Fixed],
    ) -> Tensor:
        integer = tensors[0].integer and isinstance(layer, ARRANGEMENTS)
        if tensors[0].integer and not isinstance(layer, (*ARRANGEMENTS, Embedding)):
            raise Unsupported(f"it computes with the whole numbers of {tensors[0].name}")
        shapes = tuple(self.shapes[tensor.name] for tensor in tensors)
        try:
            shape = layer.output_shape(shapes)
        except ShapeError as error:
            raise Unsupported(str(error)) from None
        learned = layer.parameter_shapes(shapes)
        shared, frozen = [], []
        for name, length in {**learned, **layer.statistic_shapes(shapes)}.items():
            given = weights.get(name)
            if given is None:
                raise Unsupported(f"its {name} is missing")
            if given.array.shape != length:
                raise Unsupported(f"its {name} has the shape {given.array.shape}, {length} is wanted")
            full = f"{layer.name}.{name}"
            if name in learned and given.weight is not None:
                other = self._learned(full, length, given.weight)
                if other is not None:
                    shared.append((name, other))
                    continue
            elif name in learned:
                frozen.append(name)
            self.variables[full] = np.asarray(given.array, order="C")
        names = [tensor.name for tensor in tensors]
        self.network.join(layer, *names, shared=tuple(shared), frozen=tuple(frozen))
        self.shapes[layer.name] = shape
        return Tensor(layer.name, order, (self.batch, *shape), groups, integer)

    def _learned(self, full: str, shape: Shape, weight: Weight) -> str | None:
        """Note that a parameter is an initialiser; the parameter that is already, if one is."""
        place = self.places.setdefault(weight.name, Place(full, weight.long_axes, shape))
        if place.parameter == full:
            if weight.whole:
                self.origins[full] = Origin(weight.name, weight.permutation)
            return None
        if (place.axes, place.shape) != (weight.long_axes, shape):
            raise Unsupported(
                f"its {weight.name} is {place.parameter} already, in another shape or order, and could not learn as one"
            )
        return place.parameter

    def _name(self, operator: Operator, suffix: str) -> str:
        """A name that no other layer has, after the operator's."""
        base = re.sub(r"[^A-Za-z0-9_.]+", ".", operator.name or operator.type).strip(".") or operator.type
        base = f"{base}.{suffix}" if suffix else base
        name, number = base, 1
        while name in self.shapes:
            number += 1
            name = f"{base}_{number}"
        return name


@dataclass(frozen=True)
class Place:
    """Which parameter an initialiser is, and how its axes lie there."""

    parameter: str
    axes: tuple[int, ...]
    shape: Shape


ARRANGEMENTS: Final = (Reshape, Transpose, Slice, Select, Concatenate)
"""Layers that whole numbers may go through."""


def _long(order: tuple[int, ...], factors: Shape) -> list[int]:
    """An order without axes of length 1; the batch is always there."""
    return [order[0], *(each for each in order[1:] if factors[each] != 1)]


Rule: TypeAlias = Callable[[Importer, Operator], None]
RULES: Final[dict[str, Rule]] = {}
"""What imports each type of operator; filled by the files of rules."""


def rule(*types: str) -> Callable[[Rule], Rule]:
    """Register what imports operators of some types."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(types, function))
        return function

    return register


def attribute(operator: Operator, name: str, default: Any) -> Any:
    """An attribute's value, or its default."""
    return operator.attributes.get(name, default)
