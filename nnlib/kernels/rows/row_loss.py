"""Losses of rows of numbers and their gradients, in one pass over the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.rows.row_blocks import plan_row_blocks, rows_that_fit
from nnlib.kernels.streaming import stream
from nnlib.ops.binary_cross_entropy import logit_losses, logit_slopes, probability_losses, probability_slopes
from nnlib.ops.regression_loss import smooth_absolute
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

LossFunction: TypeAlias = Literal[
    "mean_squared_error",
    "mean_absolute_error",
    "smooth_l1",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "gaussian_kl",
]
Numerics: TypeAlias = Callable[..., tuple[Array, ...]]
"""From the two inputs and the constants to the loss of each number and its slopes."""


@dataclass(frozen=True)
class LossDefinition:
    """Names of the two inputs and of the gradients, instructions per vector, flops per number, and the numbers."""

    inputs: tuple[str, str]
    gradients: tuple[str, ...]
    body: Body
    flops: int
    run: Numerics
    constants: Mapping[str, float] = field(default_factory=dict)


def _squared(prediction: Array, target: Array) -> tuple[Array, ...]:
    difference = prediction - target
    return difference * difference, 2 * difference


def _absolute(prediction: Array, target: Array) -> tuple[Array, ...]:
    difference = prediction - target
    return np.abs(difference), np.sign(difference)


def _smooth(prediction: Array, target: Array, beta: float) -> tuple[Array, ...]:
    difference = prediction - target
    return smooth_absolute(difference, beta), np.clip(difference / beta, -1, 1)


def _probabilities(probabilities: Array, target: Array) -> tuple[Array, ...]:
    valid, truth = target >= 0, np.maximum(target, 0)
    return probability_losses(probabilities, truth) * valid, probability_slopes(probabilities, truth) * valid


def _logits(logits: Array, target: Array, positive_weight: float) -> tuple[Array, ...]:
    valid, truth = target >= 0, np.maximum(target, 0)
    return logit_losses(logits, truth, positive_weight) * valid, logit_slopes(logits, truth, positive_weight) * valid


def _gaussian(mean: Array, log_variance: Array) -> tuple[Array, ...]:
    excess = np.expm1(log_variance)
    return 0.5 * (mean * mean + (excess - log_variance)), mean, 0.5 * excess


_PREDICTION: Final = ("prediction", "target")
# logarithms count as exponentials; comparisons leave targets out
LOSSES: Final[Mapping[LossFunction, LossDefinition]] = MappingProxyType(
    {
        "mean_squared_error": LossDefinition(
            _PREDICTION, ("grad_prediction",), Body(loads=2, stores=1, arithmetic=3), 4, _squared
        ),
        "mean_absolute_error": LossDefinition(
            _PREDICTION, ("grad_prediction",), Body(loads=2, stores=1, arithmetic=5), 3, _absolute
        ),
        "smooth_l1": LossDefinition(
            _PREDICTION, ("grad_prediction",), Body(loads=2, stores=1, arithmetic=9), 7, _smooth, {"beta": 1.0}
        ),
        "binary_cross_entropy": LossDefinition(
            ("probabilities", "target"),
            ("grad_probabilities",),
            Body(loads=2, stores=1, arithmetic=13, divides=1, exponentials=2),
            11,
            _probabilities,
        ),
        "binary_cross_entropy_with_logits": LossDefinition(
            _PREDICTION,
            ("grad_prediction",),
            Body(loads=2, stores=1, arithmetic=11, divides=1, exponentials=2),
            10,
            _logits,
            {"positive_weight": 1.0},
        ),
        "gaussian_kl": LossDefinition(
            ("mean", "log_variance"),
            ("grad_mean", "grad_log_variance"),
            Body(loads=2, stores=2, arithmetic=6, exponentials=1),
            9,
            _gaussian,
        ),
    }
)


@dataclass(frozen=True)
class RowLoss:
    """``loss[r] = weights[r]·Σ_c f(x[r, c], t[r, c])`` of arrays (rows, columns), and its gradient by ``x``.

    ``weights`` (rows, 1) already contain a sample's share and the division by its number of positions. Where binary
    cross-entropy has a negative target the position counts nothing. ``constants``: the function's, in its order; none:
    the usual ones. The divergence of normal distributions has two gradients.
    """

    function: LossFunction
    rows: int
    columns: int
    dtype: DTypeName
    constants: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        return self.function

    @property
    def definition(self) -> LossDefinition:
        return LOSSES[self.function]

    def parameters(self) -> tuple[Parameter, ...]:
        """The two inputs, the weights, the gradients, the losses of the rows."""
        shape, definition = (self.rows, self.columns), self.definition
        return (
            *(Parameter(name, shape, "in") for name in definition.inputs),
            Parameter("weights", (self.rows, 1), "in"),
            *(Parameter(name, shape, "out") for name in definition.gradients),
            Parameter("loss", (self.rows, 1), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        *gradients, loss = (arrays[each.name] for each in self.parameters() if each.use == "out")
        loss[...] = 0
        inputs = [arrays[each.name] for each in self.parameters() if each.use == "in"]
        self.run(inputs, [*gradients, loss])

    def run(self, ins: Sequence[Array], outs: Sequence[Array]) -> None:
        """Gradients of a block of columns; its losses are added to the last output."""
        first, second, weights = ins
        *gradients, loss = outs
        definition = self.definition
        constants = self.constants or tuple(definition.constants.values())
        values, *slopes = definition.run(first, second, *constants)
        for target, slope in zip(gradients, slopes, strict=True):
            np.multiply(slope, weights, out=target)
        loss += weights * values.sum(axis=1, keepdims=True)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """Whole rows, or one row of each CPE in blocks. Raises InfeasiblePlan if not even one column fits."""
        definition, item = self.definition, DTYPES[self.dtype].itemsize
        wide = 2 + len(definition.gradients)
        rows = rows_that_fit(
            kernel=self.name,
            rows=self.rows,
            row_bytes=[self.columns * item] * wide + [item] * 2,
            resident=0,
            processor=core_group.processor,
        )
        if rows is None:
            self.in_blocks(core_group, arguments)
            return

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            outs[-1][...] = 0
            self.run(ins, outs)

        arrays = [(arguments[each.name], each.use) for each in self.parameters()]
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(array) for array, use in arrays if use == "in"],
            outputs=[rows.operand(array) for array, use in arrays if use == "out"],
            cycles=rows.cycles(definition.body, core_group.cpe, row_elements=self.columns),
            run=run,
            flops=definition.flops * self.rows * self.columns,
        )

    def in_blocks(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """Rows longer than the LDM."""
        definition, dtype = self.definition, DTYPES[self.dtype]
        blocks = plan_row_blocks(
            kernel=self.name,
            rows=self.rows,
            columns=self.columns,
            streams=2 + len(definition.gradients),
            item=dtype.itemsize,
            resident=2 * aligned(dtype.itemsize),
            processor=core_group.processor,
        )
        weights, loss = (blocks.keep(core_group, name, 1, dtype) for name in ("weights", "loss"))

        def clear() -> None:
            loss.values()[...] = 0

        def names(which: tuple[str, ...]) -> list[MemoryArray]:
            return [arguments[name] for name in which]

        for turn in blocks.loop(core_group, self.name):
            place = (turn * blocks.cpes, 0)
            core_group.wait(core_group.get(weights, arguments["weights"], place))
            one = stream_cycles(cpe=core_group.cpe, body=Body(stores=1), elements=1)
            core_group.compute("clear the loss", cycles=one, writes=[loss], run=clear)
            blocks.sweep(
                core_group,
                self.name,
                turn=turn,
                inputs=names(definition.inputs),
                outputs=names(definition.gradients),
                body=definition.body,
                run=lambda ins, outs: self.run([*ins, weights.values()], [*outs, loss.values()]),
                resident=[weights],
                accumulators=[loss],
                flops=definition.flops,
            )
            core_group.wait(core_group.put(loss, arguments["loss"], place))
        core_group.free(weights, loss)
