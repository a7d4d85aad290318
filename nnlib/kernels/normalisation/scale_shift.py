"""Statistics and parameters of each channel folded into a scale and a shift, and these applied to (rows, channels)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.normalisation.channel_sums import channel_blocks, keep_vectors
from nnlib.kernels.streaming import Rows, plan_rows, stream
from nnlib.ops.normalisation import fold_statistics
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class FoldStatistics:
    """``scale = gamma·inverse_deviation`` and ``shift = beta − mean·scale`` from a mean and a variance (channels,).

    Not ``affine``: gamma is 1 and beta 0. ``momentum``: in training the new running mean and variance have so much of
    these, of the variance the unbiased estimate from ``count`` numbers, and the rest of the running ones before.
    Raises ValueError if ``count`` is 1 then.
    """

    channels: int
    dtype: DTypeName
    epsilon: float
    affine: bool = True
    momentum: float | None = None
    count: int = 0

    def __post_init__(self) -> None:
        if self.momentum is not None and self.count < 2:
            raise ValueError(f"{self.name}: a running variance needs more than {self.count} numbers per channel")

    @property
    def name(self) -> str:
        return "fold_statistics"

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("mean", "variance", *(("gamma", "beta") if self.affine else ()), *self.running)

    @property
    def running(self) -> tuple[str, ...]:
        """The running statistics before, if there are any."""
        return () if self.momentum is None else ("running_mean", "running_variance")

    @property
    def new(self) -> tuple[str, ...]:
        """And after."""
        return () if self.momentum is None else ("new_mean", "new_variance")

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("inverse_deviation", "scale", "shift", *self.new)

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.channels,)
        read = [Parameter(name, shape, "in") for name in self.inputs]
        return (*read, *(Parameter(name, shape, "out") for name in self.outputs))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        mean, variance = arrays["mean"], arrays["variance"]
        scale, shift = fold_statistics(
            arrays.get("gamma"), arrays.get("beta"), mean=mean, variance=variance, epsilon=self.epsilon
        )
        arrays["scale"][...], arrays["shift"][...] = scale, shift
        arrays["inverse_deviation"][...] = 1 / np.sqrt(variance.astype(np.float64) + self.epsilon)
        if self.momentum is not None:
            unbiased = variance * (self.count / (self.count - 1))
            for name, before, of_batch in zip(self.new, self.running, (mean, unbiased), strict=True):
                arrays[name][...] = (1 - self.momentum) * arrays[before] + self.momentum * of_batch

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        item = DTYPES[self.dtype].itemsize
        rows = plan_rows(
            kernel=self.name,
            rows=self.channels,
            row_bytes=[item] * (len(self.inputs) + len(self.outputs)),
            resident=0,
            processor=core_group.processor,
        )
        line = core_group.processor.dma.line_bytes // item
        if rows.iterations == 1 and rows.per_cpe < line:
            # few channels: whole memory lines for some CPEs rather than a part of one for each
            rows = self.in_lines(rows, line, core_group)
        arithmetic = 4 + (6 if self.running else 0)
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments[name]) for name in self.inputs],
            outputs=[rows.operand(arguments[name]) for name in self.outputs],
            cycles=rows.cycles(
                Body(loads=len(self.inputs), stores=len(self.outputs), arithmetic=arithmetic, divides=2),
                core_group.cpe,
            ),
            run=self.run,
            flops=self.channels * (arithmetic + 2),
        )

    def in_lines(self, rows: Rows, line: int, core_group: CoreGroup) -> Rows:
        """A line of channels per CPE, if so many fit the LDM."""
        needed = 2 * (len(self.inputs) + len(self.outputs)) * core_group.processor.dma.line_bytes
        return replace(rows, per_cpe=line) if needed <= core_group.processor.cpe.ldm_bytes else rows

    def run(self, ins: Sequence[Array], outs: Sequence[Array]) -> None:
        """The numbers of a tile."""
        given = dict(zip(self.inputs, ins, strict=True))
        found = dict(zip(self.outputs, outs, strict=True))
        one = given["mean"].dtype.type
        found["inverse_deviation"][...] = 1 / np.sqrt(given["variance"] + one(self.epsilon))
        found["scale"][...] = found["inverse_deviation"] * given.get("gamma", one(1))
        found["shift"][...] = given.get("beta", one(0)) - given["mean"] * found["scale"]
        if self.momentum is not None:
            kept, taken = one(1 - self.momentum), one(self.momentum)
            unbiased = one(self.count / (self.count - 1)) * taken
            found["new_mean"][...] = kept * given["running_mean"] + taken * given["mean"]
            found["new_variance"][...] = kept * given["running_variance"] + unbiased * given["variance"]


@dataclass(frozen=True)
class ScaleShift:
    """``y = x·scale + shift``, each channel of ``x`` (rows, channels) by its own; not ``shifted``: no shift."""

    rows: int
    channels: int
    dtype: DTypeName
    shifted: bool = True

    @property
    def name(self) -> str:
        return "scale_shift" if self.shifted else "scale"

    @property
    def vectors(self) -> tuple[str, ...]:
        """What there is one of for each channel."""
        return ("scale", "shift") if self.shifted else ("scale",)

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("x", (self.rows, self.channels), "in"),
            *(Parameter(name, (self.channels,), "in", common=True) for name in self.vectors),
            Parameter("y", (self.rows, self.channels), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        np.multiply(arrays["x"], arrays["scale"], out=arrays["y"])
        if self.shifted:
            arrays["y"][...] += arrays["shift"]

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        item = DTYPES[self.dtype].itemsize
        for columns in channel_blocks(
            self.channels, vectors=4 + len(self.vectors), item=item, kernel=self.name, processor=core_group.processor
        ):
            self.apply(core_group, arguments, columns)

    def apply(self, core_group: CoreGroup, arguments: Arguments, columns: range) -> None:
        """A block of channels."""
        width = len(columns)
        kept = keep_vectors(core_group, arguments, self.vectors, columns)
        row_bytes = width * DTYPES[self.dtype].itemsize
        rows = plan_rows(
            kernel=self.name,
            rows=self.rows,
            row_bytes=[row_bytes, row_bytes],
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            np.multiply(ins[0], kept["scale"].values(), out=outs[0])
            if self.shifted:
                outs[0][...] += kept["shift"].values()

        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments["x"], columns=columns)],
            outputs=[rows.operand(arguments["y"], columns=columns)],
            cycles=rows.cycles(
                Body(loads=1 + len(self.vectors), stores=1, arithmetic=1), core_group.cpe, row_elements=width
            ),
            run=run,
            flops=self.rows * width * len(self.vectors),
            resident=list(kept.values()),
        )
        core_group.free(*kept.values())
