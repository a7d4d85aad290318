"""The state of an import: layers so far, what each ONNX name stands for, and the variables' values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from nnlib.graph import Input
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported, Value
from nnlib.layers.layer import Array, Layer, Shape, ShapeError
from nnlib.models.network import Network


@dataclass(frozen=True)
class Origin:
    """Where a parameter comes from: ``parameter = initialiser.transpose(axes)``."""

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
            each.name: Tensor(each.name, orders[each.name], (batch, *each.shape)) for each in laid
        }
        self.variables: dict[str, Array] = {}
        self.origins: dict[str, Origin] = {}
        self.used: set[str] = set()
        """Names that some operator takes, or that are outputs of the file."""
        self.places: dict[tuple[str, tuple[int, ...], Shape], str] = {}

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

    def add(
        self,
        operator: Operator,
        make: Callable[[str], Layer],
        *tensors: Tensor,
        order: tuple[int, ...],
        weights: dict[str, Fixed] | None = None,
        suffix: str = "",
    ) -> Tensor:
        """A layer over ``tensors`` with given parameters and statistics; its output's axes lie in ``order``."""
        layer = make(self._name(operator, suffix))
        return self._join(layer, tensors, order, weights or {})

    def reordered(self, operator: Operator, tensor: Tensor, order: tuple[int, ...]) -> Tensor:
        """The tensor with its axes in another order. Raises Unsupported if that moves the batch."""
        if tensor.order == order:
            return tensor
        if tensor.batch_axis != order[0]:
            raise Unsupported(f"it wants the batch at axis {order[0]}, where axis {tensor.batch_axis} is the batch")
        from nnlib.layers import Transpose

        axes = tuple(tensor.order.index(axis) - 1 for axis in order[1:])
        return self.add(operator, lambda name: Transpose(name, axes), tensor, order=order, suffix="order")

    def natural(self, operator: Operator, tensor: Tensor) -> Tensor:
        """The tensor with its axes in ONNX's order behind the batch."""
        batch = tensor.batch_axis
        return self.reordered(operator, tensor, (batch, *(axis for axis in range(tensor.rank) if axis != batch)))

    def channels_last(self, operator: Operator, tensor: Tensor) -> Tensor:
        """The tensor with its channels, ONNX axis 1, at the end."""
        if tensor.rank < 2:
            raise Unsupported(f"it wants channels, its input has the shape {tensor.shape}")
        return self.reordered(operator, tensor, (0, *range(2, tensor.rank), 1))

    def reshaped(self, operator: Operator, tensor: Tensor, stored: Shape, order: tuple[int, ...]) -> Tensor:
        """The same numbers under another shape, batch included."""
        if stored == tensor.stored:
            return Tensor(tensor.name, order, stored)
        from nnlib.layers import Reshape

        return self.add(operator, lambda name: Reshape(name, stored[1:]), tensor, order=order, suffix="shape")

    def set(self, operator: Operator, *values: Value) -> None:
        """What the operator's outputs stand for."""
        for name, value in zip(operator.outputs, values, strict=False):
            self.values[name] = value

    def _join(
        self, layer: Layer, tensors: tuple[Tensor, ...], order: tuple[int, ...], weights: dict[str, Fixed]
    ) -> Tensor:
        shapes = tuple(self.shapes[tensor.name] for tensor in tensors)
        try:
            shape = layer.output_shape(shapes)
        except ShapeError as error:
            raise Unsupported(str(error)) from None
        wanted = {**layer.parameter_shapes(shapes), **layer.statistic_shapes(shapes)}
        shared, frozen = [], []
        for name, length in wanted.items():
            given = weights.get(name)
            if given is None:
                raise Unsupported(f"its {name} is missing")
            if given.array.shape != length:
                raise Unsupported(f"its {name} has the shape {given.array.shape}, {length} is wanted")
            full = f"{layer.name}.{name}"
            learned = name in layer.parameter_shapes(shapes)
            if learned and given.weight is not None:
                key = (given.weight.name, given.weight.axes, length)
                if key in self.places:
                    shared.append((name, self.places[key]))
                    continue
                self.places[key] = full
                if given.weight.whole:
                    self.origins[full] = Origin(given.weight.name, given.weight.axes)
            elif learned:
                frozen.append(name)
            self.variables[full] = np.asarray(given.array, order="C")
        names = [tensor.name for tensor in tensors]
        self.network.join(layer, *names, shared=tuple(shared), frozen=tuple(frozen))
        self.shapes[layer.name] = shape
        return Tensor(layer.name, order, (self.batch, *shape))

    def _name(self, operator: Operator, suffix: str) -> str:
        """A name that no other layer has, after the operator's."""
        base = re.sub(r"[^A-Za-z0-9_.]+", ".", operator.name or operator.type).strip(".") or operator.type
        base = f"{base}.{suffix}" if suffix else base
        name, number = base, 1
        while name in self.shapes:
            number += 1
            name = f"{base}_{number}"
        return name


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
