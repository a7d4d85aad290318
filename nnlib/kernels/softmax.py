"""Softmax cross-entropy: loss and gradient of one row of logits per CPE at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import plan_rows, stream
from nnlib.precision import DTYPES, DTypeName
from sim.chip.core_group import CoreGroup
from sim.chip.memory import Array
from sim.chip.pipeline import Body


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Per row of ``logits`` (rows, classes): ``loss = weight·(log Σ exp − logit[label])`` and its gradient.

    ``weights`` already contain the mean's division by their sum.
    """

    rows: int
    classes: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "softmax_cross_entropy"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("logits", (self.rows, self.classes), "in"),
            Parameter("labels", (self.rows, 1), "in"),
            Parameter("weights", (self.rows, 1), "in"),
            Parameter("grad_logits", (self.rows, self.classes), "out"),
            Parameter("loss", (self.rows, 1), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        _run([arrays[name] for name in ("logits", "labels", "weights")], [arrays["grad_logits"], arrays["loss"]])

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        item = DTYPES[self.dtype].itemsize
        rows = plan_rows(
            kernel=self.name,
            rows=self.rows,
            row_bytes=[self.classes * item, item, item, self.classes * item, item],
            resident=0,
            processor=core_group.processor,
        )
        # three passes over the row: maximum, exponentials and their sum, scaling
        body = Body(loads=3, stores=2, arithmetic=5, exponentials=1)
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments[name]) for name in ("logits", "labels", "weights")],
            outputs=[rows.operand(arguments["grad_logits"]), rows.operand(arguments["loss"])],
            cycles=rows.cycles(body, core_group.processor.cpe, row_elements=self.classes),
            run=_run,
            flops=5 * self.rows * self.classes,
        )


def _run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
    logits, labels, weights = ins
    grad, loss = outs
    places = labels.astype(np.int64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1, keepdims=True)
    picked = np.take_along_axis(shifted, places, axis=1)
    loss[...] = weights * (np.log(total) - picked)
    grad[...] = weights * exponentials / total
    np.put_along_axis(grad, places, np.take_along_axis(grad, places, axis=1) - weights, axis=1)
