"""Softmax cross-entropy of rows of logits: loss and gradient.

A row that fits the LDM is read once. Of a longer one a first pass over its blocks finds the largest number, the sum of
the exponentials, the label's logit and, with smoothing, the weighted sum of all; a second one makes the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.rows.row_blocks import plan_row_blocks, rows_that_fit
from nnlib.kernels.streaming import stream
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

Places = NDArray[np.int64]
INPUTS = ("logits", "labels", "weights")


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Per row of ``logits`` (rows, classes): ``loss = weight·(log Σ exp − logit[label])`` and its gradient.

    ``weights`` already contain the mean's division by their sum. Rows with a negative label count nothing. With
    ``class_weights`` and ``smoothing`` the targets are as in :func:`nnlib.ops.loss.softmax_cross_entropy`; the weights
    are constants of the program, which has room for them in the LDM.
    """

    rows: int
    classes: int
    dtype: DTypeName
    class_weights: tuple[float, ...] | None = None
    smoothing: float = 0.0

    @property
    def name(self) -> str:
        return "softmax_cross_entropy"

    @property
    def plain(self) -> bool:
        """True without smoothing and weights of classes."""
        return self.class_weights is None and not self.smoothing

    @property
    def body(self) -> Body:
        """Three passes over a row in the LDM: maximum, exponentials and their sum, scaling; smoothing adds a sum."""
        if self.plain:
            return Body(loads=3, stores=2, arithmetic=5, exponentials=1)
        return Body(loads=5, stores=2, arithmetic=7, exponentials=1)

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("logits", (self.rows, self.classes), "in"),
            Parameter("labels", (self.rows, 1), "in"),
            Parameter("weights", (self.rows, 1), "in"),
            Parameter("grad_logits", (self.rows, self.classes), "out"),
            Parameter("loss", (self.rows, 1), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        self.run([arrays[name] for name in INPUTS], [arrays["grad_logits"], arrays["loss"]])

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if not even one column fits."""
        item = DTYPES[self.dtype].itemsize
        rows = rows_that_fit(
            kernel=self.name,
            rows=self.rows,
            row_bytes=[self.classes * item, item, item, self.classes * item, item],
            resident=0 if self.class_weights is None else aligned(self.classes * item),
            processor=core_group.processor,
        )
        if rows is None:
            self.in_blocks(core_group, arguments)
            return
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments[name]) for name in INPUTS],
            outputs=[rows.operand(arguments["grad_logits"]), rows.operand(arguments["loss"])],
            cycles=rows.cycles(self.body, core_group.cpe, row_elements=self.classes),
            run=self.run,
            flops=5 * self.rows * self.classes,
        )

    def run(self, ins: Sequence[Array], outs: Sequence[Array]) -> None:
        """Whole rows."""
        logits, labels, weights = ins
        grad, loss = outs
        places = np.maximum(labels, 0).astype(np.int64)
        counted = weights * (labels >= 0)
        shifted = logits - logits.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        total = exponentials.sum(axis=1, keepdims=True)
        picked = np.take_along_axis(shifted, places, axis=1)
        target, rest = self.targets(places, range(self.classes))
        loss[...] = counted * self.losses(np.log(total), picked, shifted @ rest[:, None], target)
        grad[...] = counted * exponentials / total
        self.finish(grad, counted, places, target, rest)

    def targets(self, places: Places, columns: range) -> tuple[Array, Array]:
        """How much of a label's own class counts (rows, 1), and of every class besides (columns,)."""
        dtype = DTYPES[self.dtype]
        factors = np.ones(self.classes, dtype) if self.class_weights is None else np.array(self.class_weights, dtype)
        return factors[places] * (1 - self.smoothing), factors[columns.start : columns.stop] * self._besides

    @property
    def _besides(self) -> float:
        return self.smoothing / self.classes

    @property
    def _sum_besides(self) -> float:
        return self.smoothing if self.class_weights is None else sum(self.class_weights) * self._besides

    def losses(self, logarithm: Array, picked: Array, others: Array, target: Array) -> Array:
        """Of each row, from the logits' parts less their largest: ``others`` are those of every class besides."""
        found: Array = target * (logarithm - picked)
        return found if not self.smoothing else found + self._sum_besides * logarithm - others

    def finish(self, grad: Array, counted: Array, places: Places, target: Array, rest: Array) -> None:
        """From ``counted`` times the probabilities to the gradient, in place; labels elsewhere have negative places."""
        if not self.plain:
            grad *= target + self._sum_besides
            grad -= counted * rest
        inside = (places >= 0) & (places < grad.shape[1])
        chosen = np.where(inside, places, 0)
        own = np.take_along_axis(grad, chosen, axis=1) - np.where(inside, counted * target, 0)
        np.put_along_axis(grad, chosen, own, axis=1)

    def in_blocks(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """Rows longer than the LDM."""
        dtype, cpe = DTYPES[self.dtype], core_group.cpe
        item = dtype.itemsize
        blocks = plan_row_blocks(
            kernel=self.name,
            rows=self.rows,
            columns=self.classes,
            streams=2 if self.class_weights is None else 3,
            item=item,
            resident=3 * aligned(item) + aligned(4 * item),
            processor=core_group.processor,
        )
        labels, weights, loss = (blocks.keep(core_group, name, 1, dtype) for name in ("labels", "weights", "loss"))
        kept = blocks.keep(core_group, "statistics", 4, dtype)

        def clear() -> None:
            kept.values()[...] = 0
            kept.values()[:, 0] = np.finfo(dtype).min

        def collect(first: int, ins: Sequence[Array], _: Sequence[Array]) -> None:
            self.collect(kept.values(), labels.values(), ins[0], first)

        def losses() -> None:
            largest, total, picked, others = (kept.values()[:, place, None] for place in range(4))
            places = np.maximum(labels.values(), 0).astype(np.int64)
            counted = weights.values() * (labels.values() >= 0)
            target, _ = self.targets(np.minimum(places, self.classes - 1), range(0))
            beside = others - largest * self._sum_besides
            loss.values()[...] = counted * self.losses(np.log(total), picked - largest, beside, target)

        def gradient(first: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            largest, total = kept.values()[:, :1], kept.values()[:, 1:2]
            counted = weights.values() * (labels.values() >= 0)
            grad = outs[0]
            grad[...] = counted * np.exp(ins[0] - largest) / total
            places = labels.values().astype(np.int64)
            columns = range(first, first + grad.shape[1])
            target, rest = self.targets(np.maximum(places, 0), columns)
            self.finish(grad, counted, places - first, target, rest)

        one = stream_cycles(cpe=cpe, body=Body(arithmetic=8, loads=4, stores=1, exponentials=1), elements=1)
        for turn in blocks.loop(core_group, self.name):
            place = (turn * blocks.cpes, 0)
            core_group.wait(
                core_group.get(labels, arguments["labels"], place),
                core_group.get(weights, arguments["weights"], place),
            )
            core_group.compute("clear statistics", cycles=1, writes=[kept], run=clear)
            blocks.sweep(
                core_group,
                "statistics",
                turn=turn,
                inputs=[arguments["logits"]],
                outputs=[],
                body=Body(loads=2, arithmetic=4 if self.plain else 6, exponentials=1),
                run_at=collect,
                resident=[labels],
                accumulators=[kept],
                flops=5,
            )
            core_group.compute("losses", cycles=one, reads=[kept, labels, weights], writes=[loss], run=losses)
            put = core_group.put(loss, arguments["loss"], place)
            blocks.sweep(
                core_group,
                self.name,
                turn=turn,
                inputs=[arguments["logits"]],
                outputs=[arguments["grad_logits"]],
                body=Body(loads=1 if self.plain else 2, stores=1, arithmetic=2 if self.plain else 4, exponentials=1),
                run_at=gradient,
                resident=[kept, labels, weights],
            )
            core_group.wait(put)
        core_group.free(labels, weights, loss, kept)

    def collect(self, kept: Array, labels: Array, x: Array, first: int) -> None:
        """Take a block of logits from column ``first`` on into the statistics of its rows."""
        largest = np.maximum(kept[:, 0], x.max(axis=1))
        kept[:, 1] *= np.exp(kept[:, 0] - largest)
        kept[:, 1] += np.exp(x - largest[:, None]).sum(axis=1)
        kept[:, 0] = largest
        places = labels[:, 0].astype(np.int64) - first
        inside = (places >= 0) & (places < x.shape[1])
        kept[inside, 2] = x[inside, places[inside]]
        if self.smoothing:
            _, rest = self.targets(np.zeros(1, np.int64), range(first, first + x.shape[1]))
            kept[:, 3] += x @ rest
