"""Recurrent layers over sequences (T, C), in one direction or both, with lengths where these differ."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from nnlib.layers.initial import XAVIER_UNIFORM, Initial
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape
from nnlib.layers.sequence import sequence_inputs
from nnlib.ops.gru import Gru
from nnlib.ops.lstm import Lstm
from nnlib.ops.normalisation import (
    BatchStatistics,
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    batch_norm_inference_backward,
)
from nnlib.ops.recurrent import (
    Cell,
    Merge,
    Recurrence,
    input_product,
    input_product_gradient,
    merge_directions,
    recurrent_backward,
    recurrent_forward,
    split_directions,
)
from nnlib.ops.simple_recurrent import CEILING, Activation, Simple

EPSILON = 1e-5
MOMENTUM = 0.1


@dataclass(frozen=True)
class Direction:
    """What backward needs of a direction; of a normalised one its product before, and the statistics if in training."""

    run: Recurrence
    product: Array | None = None
    statistics: BatchStatistics | None = None


@dataclass(frozen=True)
class Recurrent:
    """What all recurrent layers share: (T, C) to (T, units), or with ``concatenate`` twice as many in both directions.

    Inputs are (x) or (x, lengths), lengths () being a sequence's steps: past these outputs are 0.
    Parameters are ``weight`` (C, gates·units), ``recurrent`` (units, gates·units), ``bias`` (gates·units,), gates in
    PyTorch's order, and of a gated recurrent unit ``recurrent_bias`` (units,), inside what the reset gate multiplies;
    PyTorch's other recurrent biases would add to ``bias``. Those of the direction from the end end in ``_reverse``.
    ``normalised``: the input's product is batch-normalised over all steps of all samples, padding included, with
    ``scale``, ``shift`` (in place of the bias), and the statistics ``mean`` and ``variance`` (Deep Speech 2, Amodei et
    al. 2016).
    """

    name: str
    units: int
    bidirectional: bool = False
    merge: Merge = "concatenate"
    bias: bool = True
    normalised: bool = False
    initial: Initial = field(default=XAVIER_UNIFORM, kw_only=True)

    @property
    def cell(self) -> Cell:
        """What happens in a step."""
        raise NotImplementedError

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Behind the names of each direction's parameters."""
        return ("", "_reverse") if self.bidirectional else ("",)

    @property
    def columns(self) -> int:
        """Of a product: all gates."""
        return self.cell.gates * self.units

    @property
    def has_recurrent_bias(self) -> bool:
        """True where a bias of the recurrent product is not the same as one of the input's."""
        return self.bias and isinstance(self.cell, Gru)

    @property
    def mixes_samples(self) -> bool:
        return self.normalised

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        steps, _ = sequence_inputs(self.name, type(self).__name__, input_shapes)
        both = self.bidirectional and self.merge == "concatenate"
        return steps, 2 * self.units if both else self.units

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        _, channels = sequence_inputs(self.name, type(self).__name__, input_shapes)
        found: dict[str, Shape] = {}
        for suffix in self.suffixes:
            found[f"weight{suffix}"] = (channels, self.columns)
            found[f"recurrent{suffix}"] = (self.units, self.columns)
            if self.normalised:
                found[f"scale{suffix}"] = found[f"shift{suffix}"] = (self.columns,)
            elif self.bias:
                found[f"bias{suffix}"] = (self.columns,)
            if self.has_recurrent_bias:
                found[f"recurrent_bias{suffix}"] = (self.units,)
        return found

    def statistic_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        names = ("mean", "variance") if self.normalised else ()
        return {f"{name}{suffix}": (self.columns,) for suffix in self.suffixes for name in names}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        found: dict[str, Array] = {}
        shapes = self.parameter_shapes(input_shapes) | self.statistic_shapes(input_shapes)
        for name, shape in shapes.items():
            if len(shape) == 2:
                fans = {"fan_in": shape[0], "fan_out": self.units}
                found[name] = self.initial.draw(shape, rng=rng, dtype=dtype, **fans)
            else:
                ones = name.startswith(("scale", "variance"))
                found[name] = np.full(shape, 1 if ones else 0, dtype=dtype)
        return found

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        steps, channels = sequence_inputs(self.name, type(self).__name__, input_shapes)
        return len(self.suffixes) * steps * self.columns * (channels + self.units)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        x, lengths = inputs[0], inputs[1].astype(np.int64) if len(inputs) == 2 else None
        directions, outputs = [], []
        for suffix in self.suffixes:
            product, before, statistics = self._product(params, suffix, x, run)
            recurrence = recurrent_forward(
                product,
                params[f"recurrent{suffix}"],
                self._recurrent_bias(params, suffix),
                cell=self.cell,
                lengths=lengths,
                reverse=bool(suffix),
            )
            outputs.append(recurrence.y)
            nothing = np.empty((0, 0, 0), dtype=x.dtype)  # backward does not need the outputs
            directions.append(Direction(replace(recurrence, y=nothing), before, statistics))
        y = merge_directions(outputs, self.merge)
        return y, (x, len(inputs), tuple(directions))

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        x, count, directions = saved
        parts = split_directions(grad_output, len(directions), self.merge)
        by_x: Array | None = None
        grads: dict[str, Array] = {}
        for suffix, direction, part in zip(self.suffixes, directions, parts, strict=True):
            found = recurrent_backward(direction.run, part)
            grads[f"recurrent{suffix}"] = found.weight
            if self.has_recurrent_bias:
                assert found.bias is not None
                grads[f"recurrent_bias{suffix}"] = found.bias[2 * self.units :]
            product = found.x_product
            if self.normalised:
                product = self._normalisation_gradient(params, suffix, direction, product, grads)
            more, grads[f"weight{suffix}"], by_bias = input_product_gradient(x, params[f"weight{suffix}"], product)
            if self.bias and not self.normalised:
                grads[f"bias{suffix}"] = by_bias
            by_x = more if by_x is None else by_x + more
        return (by_x if needs[0] else None, *(None,) * (count - 1)), grads

    def statistics(self, params: Params, saved: Saved) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for suffix, direction in zip(self.suffixes, saved[2], strict=True):
            if direction.statistics is not None:
                mean, variance = params[f"mean{suffix}"], params[f"variance{suffix}"]
                running = direction.statistics.running(mean, variance, momentum=MOMENTUM)
                found[f"mean{suffix}"], found[f"variance{suffix}"] = running
        return found

    def _product(
        self, params: Params, suffix: str, x: Array, run: Run
    ) -> tuple[Array, Array | None, BatchStatistics | None]:
        """A direction's product of the input; the one before normalisation, and the batch's statistics."""
        bias = params[f"bias{suffix}"] if self.bias and not self.normalised else None
        product = input_product(x, params[f"weight{suffix}"], bias)
        if not self.normalised:
            return product, None, None
        scale, shift = params[f"scale{suffix}"], params[f"shift{suffix}"]
        if run.training:
            normal, statistics = batch_norm_forward(product, scale, shift, epsilon=EPSILON)
            return normal, product, statistics
        mean, variance = params[f"mean{suffix}"], params[f"variance{suffix}"]
        normal = batch_norm_inference(product, scale, shift, mean=mean, variance=variance, epsilon=EPSILON)
        return normal, product, None

    def _normalisation_gradient(
        self, params: Params, suffix: str, direction: Direction, grad: Array, grads: dict[str, Array]
    ) -> Array:
        """The gradient by the product before normalisation; those by scale and shift come into ``grads``."""
        assert direction.product is not None
        scale, product = params[f"scale{suffix}"], direction.product
        grad = np.ascontiguousarray(grad)
        if direction.statistics is not None:
            found = batch_norm_backward(grad, product, scale, direction.statistics)
        else:
            mean, variance = params[f"mean{suffix}"], params[f"variance{suffix}"]
            found = batch_norm_inference_backward(grad, product, scale, mean=mean, variance=variance, epsilon=EPSILON)
        by_product, grads[f"scale{suffix}"], grads[f"shift{suffix}"] = found
        return by_product

    def _recurrent_bias(self, params: Params, suffix: str) -> Array | None:
        """Of all gates, zero where the input's bias is the same."""
        if not self.has_recurrent_bias:
            return None
        own = params[f"recurrent_bias{suffix}"]
        return np.concatenate([np.zeros(2 * self.units, dtype=own.dtype), own])


@dataclass(frozen=True)
class LSTM(Recurrent, Layer):
    """Long short-term memory; gates are input, forget, candidate, output."""

    @property
    def cell(self) -> Cell:
        return Lstm()


@dataclass(frozen=True)
class GRU(Recurrent, Layer):
    """Gated recurrent unit; gates are reset, update, candidate.

    ``linear_before_reset``: the reset gate multiplies the product, as in PyTorch, and not what goes into it.
    """

    linear_before_reset: bool = field(default=True, kw_only=True)

    @property
    def cell(self) -> Cell:
        return Gru(self.linear_before_reset)

    @property
    def has_recurrent_bias(self) -> bool:
        return self.bias and self.linear_before_reset


@dataclass(frozen=True)
class SimpleRecurrent(Recurrent, Layer):
    """``h' = f(x·W + h·R + b)``; a clipped rectifier ends at ``ceiling``."""

    activation: Activation = "tanh"
    ceiling: float = CEILING

    @property
    def cell(self) -> Cell:
        return Simple(self.activation, self.ceiling)
