"""Softmax of rows and its logarithm, forward and gradient.

A row that fits the LDM is read once. Of a longer one the largest number and the sum of the exponentials are found in a
first pass over its blocks, with the sum scaled down when the largest number grows (Milakov and Gimelshein 2018), and
the result made in a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.rows.row_blocks import plan_row_blocks, rows_that_fit
from nnlib.kernels.streaming import stream
from nnlib.ops.softmax import log_softmax_backward, log_softmax_forward, softmax_backward, softmax_forward
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body
from sim.chip.tile import Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class RowSoftmax:
    """``y = eˣ/Σeˣ`` along each row of ``x`` (rows, columns), or with ``log`` its logarithm."""

    rows: int
    columns: int
    dtype: DTypeName
    log: bool = False

    @property
    def name(self) -> str:
        return "log_softmax" if self.log else "softmax"

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.rows, self.columns)
        return (Parameter("x", shape, "in"), Parameter("y", shape, "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        self.run([arrays["x"]], [arrays["y"]])

    def run(self, ins: Sequence[Array], outs: Sequence[Array]) -> None:
        """Whole rows."""
        (log_softmax_forward if self.log else softmax_forward)(ins[0], out=outs[0])

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        # three passes inside the LDM: maximum, exponentials and their sum, scaling
        body = Body(loads=3, stores=1 if self.log else 2, arithmetic=4, exponentials=1)
        _program(
            core_group,
            arguments,
            kernel=self,
            body=body,
            flops=4,
            statistics=Body(loads=2, arithmetic=4, exponentials=1),
            last=Body(loads=1, stores=1, arithmetic=1 if self.log else 2, exponentials=0 if self.log else 1),
            begin=lambda kept: _fill(kept, float(np.finfo(kept.dtype).min), 0),
            collect=_collect,
            finish=self.finish,
        )

    def finish(self, ins: Sequence[Array], outs: Sequence[Array], kept: Array) -> None:
        """A block of the result from the largest number and the sum of the exponentials."""
        largest, total = kept[:, :1], kept[:, 1:]
        if self.log:
            np.subtract(ins[0], largest + np.log(total), out=outs[0])
        else:
            np.divide(np.exp(ins[0] - largest), total, out=outs[0])


@dataclass(frozen=True)
class RowSoftmaxGradient:
    """The gradient by the input from the output ``y`` (rows, columns) of a softmax, or with ``log`` its logarithm."""

    rows: int
    columns: int
    dtype: DTypeName
    log: bool = False

    @property
    def name(self) -> str:
        return "log_softmax_gradient" if self.log else "softmax_gradient"

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.rows, self.columns)
        return (Parameter("y", shape, "in"), Parameter("grad_y", shape, "in"), Parameter("grad_x", shape, "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        self.run([arrays["y"], arrays["grad_y"]], [arrays["grad_x"]])

    def run(self, ins: Sequence[Array], outs: Sequence[Array]) -> None:
        """Whole rows."""
        (log_softmax_backward if self.log else softmax_backward)(ins[0], ins[1], out=outs[0])

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        # two passes inside the LDM: the sum, and what it makes of the gradient
        loads, exponentials = (1, 1) if self.log else (2, 0)
        _program(
            core_group,
            arguments,
            kernel=self,
            body=Body(loads=loads + 2, stores=1, arithmetic=3, exponentials=exponentials),
            flops=4,
            statistics=Body(loads=loads, arithmetic=1),
            last=Body(loads=2, stores=1, arithmetic=2, exponentials=exponentials),
            begin=lambda kept: _fill(kept, 0, 0),
            collect=self.collect,
            finish=self.finish,
        )

    def collect(self, ins: Sequence[Array], kept: Array) -> None:
        """Add a block's part of the sum."""
        y, grad = ins
        kept[:, 1] += (grad if self.log else y * grad).sum(axis=1)

    def finish(self, ins: Sequence[Array], outs: Sequence[Array], kept: Array) -> None:
        """A block of the result from the sum."""
        y, grad = ins
        total = kept[:, 1:]
        outs[0][...] = grad - np.exp(y) * total if self.log else y * (grad - total)


def _program(
    core_group: CoreGroup,
    arguments: Arguments,
    *,
    kernel: RowSoftmax | RowSoftmaxGradient,
    body: Body,
    flops: int,
    statistics: Body,
    last: Body,
    begin: Callable[[Tile], None],
    collect: Callable[[Sequence[Array], Array], None],
    finish: Callable[[Sequence[Array], Sequence[Array], Array], None],
) -> None:
    """Whole rows with ``body``; else blocks, first with ``statistics`` for two numbers of each row, then ``last``."""
    dtype = DTYPES[kernel.dtype]
    *inputs, output = (arguments[each.name] for each in kernel.parameters())
    streams = len(inputs) + 1
    rows = rows_that_fit(
        kernel=kernel.name,
        rows=kernel.rows,
        row_bytes=[kernel.columns * dtype.itemsize] * streams,
        resident=0,
        processor=core_group.processor,
    )
    if rows is not None:
        stream(
            core_group,
            kernel.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(each) for each in inputs],
            outputs=[rows.operand(output)],
            cycles=rows.cycles(body, core_group.cpe, row_elements=kernel.columns),
            run=kernel.run,
            flops=flops * kernel.rows * kernel.columns,
        )
        return
    blocks = plan_row_blocks(
        kernel=kernel.name,
        rows=kernel.rows,
        columns=kernel.columns,
        streams=streams,
        item=dtype.itemsize,
        resident=aligned(2 * dtype.itemsize),
        processor=core_group.processor,
    )
    kept = blocks.keep(core_group, "statistics", 2, dtype)
    for turn in blocks.loop(core_group, kernel.name):
        core_group.compute("clear statistics", cycles=1, writes=[kept], run=lambda: begin(kept))
        blocks.sweep(
            core_group,
            "statistics",
            turn=turn,
            inputs=inputs,
            outputs=[],
            body=statistics,
            run=lambda ins, _: collect(ins, kept.values()),
            accumulators=[kept],
            flops=flops,
        )
        blocks.sweep(
            core_group,
            kernel.name,
            turn=turn,
            inputs=inputs,
            outputs=[output],
            body=last,
            run=lambda ins, outs: finish(ins, outs, kept.values()),
            resident=[kept],
        )
    core_group.free(kept)


def _collect(ins: Sequence[Array], kept: Array) -> None:
    """The largest number so far, and the sum of the exponentials less it."""
    (x,) = ins
    largest = np.maximum(kept[:, 0], x.max(axis=1))
    kept[:, 1] *= np.exp(kept[:, 0] - largest)
    kept[:, 1] += np.exp(x - largest[:, None]).sum(axis=1)
    kept[:, 0] = largest


def _fill(kept: Tile, first: float, second: float) -> None:
    values = kept.values()
    values[:, 0], values[:, 1] = first, second
