"""The rectifier with a learned slope for each channel, forward and gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.normalisation.channel_sums import channel_blocks, keep_vectors, put_totals
from nnlib.kernels.streaming import plan_rows, stream
from nnlib.ops.rectifiers import prelu_backward, prelu_forward
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class Prelu:
    """``y = x`` above 0, ``slope·x`` below, with a slope for each channel of ``x`` (rows, channels)."""

    rows: int
    channels: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "prelu"

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.rows, self.channels)
        return (Parameter("x", shape, "in"), Parameter("slope", (self.channels,), "in"), Parameter("y", shape, "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        prelu_forward(arrays["x"], arrays["slope"], out=arrays["y"])

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        item = DTYPES[self.dtype].itemsize
        for columns in channel_blocks(
            self.channels, vectors=5, item=item, kernel=self.name, processor=core_group.processor
        ):
            kept = keep_vectors(core_group, arguments, ["slope"], columns)
            slope = kept["slope"]
            rows = plan_rows(
                kernel=self.name,
                rows=self.rows,
                row_bytes=[len(columns) * item] * 2,
                resident=core_group.ldm.used,
                processor=core_group.processor,
            )

            def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
                prelu_forward(ins[0], slope.values(), out=outs[0])  # noqa: B023 - this block's, at once

            stream(
                core_group,
                self.name,
                iterations=rows.iterations,
                whole=rows.whole,
                inputs=[rows.operand(arguments["x"], columns=columns)],
                outputs=[rows.operand(arguments["y"], columns=columns)],
                cycles=rows.cycles(Body(loads=2, stores=1, arithmetic=3), core_group.cpe, row_elements=len(columns)),
                run=run,
                flops=self.rows * len(columns),
                resident=[slope],
            )
            core_group.free(slope)


@dataclass(frozen=True)
class PreluGradient:
    """The gradients by ``x`` (rows, channels) and by ``slope`` (channels,) from that by the output."""

    rows: int
    channels: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "prelu_gradient"

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.rows, self.channels)
        return (
            Parameter("x", shape, "in"),
            Parameter("slope", (self.channels,), "in"),
            Parameter("grad_y", shape, "in"),
            Parameter("grad_x", shape, "out"),
            Parameter("grad_slope", (self.channels,), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        _, arrays["grad_slope"][...] = prelu_backward(
            arrays["x"], arrays["slope"], arrays["grad_y"], out=arrays["grad_x"]
        )

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        item = DTYPES[self.dtype].itemsize
        for columns in channel_blocks(
            self.channels, vectors=8, item=item, kernel=self.name, processor=core_group.processor
        ):
            self.add(core_group, arguments, columns)

    def add(self, core_group: CoreGroup, arguments: Arguments, columns: range) -> None:
        """A block of channels."""
        dtype, cpe, width = DTYPES[self.dtype], core_group.cpe, len(columns)
        slope = keep_vectors(core_group, arguments, ["slope"], columns)["slope"]
        partial = core_group.alloc("partial", size=(1, 1, width), dtype=dtype, split=Split(rows=0, columns=0))
        rows = plan_rows(
            kernel=self.name,
            rows=self.rows,
            row_bytes=[width * dtype.itemsize] * 3,
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )

        def clear() -> None:
            partial.values()[...] = 0

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            x, grad = ins
            np.multiply(grad, np.where(x > 0, 1, slope.values()), out=outs[0])
            products = np.minimum(x, 0) * grad
            sums = partial.values()
            sums[:, 0] += products.reshape(core_group.cpes, rows.per_cpe, width).sum(axis=1)

        cycles = stream_cycles(cpe=cpe, body=Body(stores=1), elements=width)
        core_group.compute("clear partial sums", cycles=cycles, writes=[partial], run=clear)
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments[name], columns=columns) for name in ("x", "grad_y")],
            outputs=[rows.operand(arguments["grad_x"], columns=columns)],
            # the slope and the sum come from the LDM as well
            cycles=rows.cycles(Body(loads=4, stores=2, arithmetic=5), cpe, row_elements=width),
            run=run,
            flops=3 * self.rows * width,
            resident=[slope],
            accumulators=[partial],
        )
        put_totals(
            core_group,
            partial,
            [arguments["grad_slope"]],
            columns=columns,
            arithmetic=1,
            combine=lambda parts: [parts.sum(axis=(0, 1))],
        )
        core_group.free(slope, partial)
