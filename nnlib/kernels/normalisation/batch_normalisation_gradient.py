"""Gradients of normalisations over (rows, channels): by gamma and beta of any of them, by the input in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.normalisation.channel_sums import channel_blocks, keep_vectors, put_totals
from nnlib.kernels.streaming import plan_rows, stream
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split, Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class NormalisationSums:
    """``grad_gamma = Σ grad_y·(x − mean)·inverse_deviation`` and ``grad_beta = Σ grad_y`` over rows (rows, channels).

    ``statistics_of``: each channel has a mean and an inverse deviation (channels,), as in batch normalisation, or each
    row (rows, 1), as in layer normalisation. Not ``centred``: there is no mean, and no beta.
    """

    rows: int
    channels: int
    dtype: DTypeName
    statistics_of: Literal["channel", "row"] = "channel"
    centred: bool = True

    @property
    def name(self) -> str:
        return "normalisation_sums"

    @property
    def statistics(self) -> tuple[str, ...]:
        return ("mean", "inverse_deviation") if self.centred else ("inverse_deviation",)

    @property
    def totals(self) -> tuple[str, ...]:
        return ("grad_gamma", "grad_beta") if self.centred else ("grad_gamma",)

    def parameters(self) -> tuple[Parameter, ...]:
        matrix, common = (self.rows, self.channels), self.statistics_of == "channel"
        shape = (self.channels,) if common else (self.rows, 1)
        return (
            Parameter("grad_y", matrix, "in"),
            Parameter("x", matrix, "in"),
            *(Parameter(name, shape, "in", common=common) for name in self.statistics),
            *(Parameter(name, (self.channels,), "out") for name in self.totals),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        normal = arrays["x"] - arrays["mean"] if self.centred else arrays["x"]
        products = arrays["grad_y"] * (normal * arrays["inverse_deviation"])
        arrays["grad_gamma"][...] = products.sum(axis=0, dtype=np.float64)
        if self.centred:
            arrays["grad_beta"][...] = arrays["grad_y"].sum(axis=0, dtype=np.float64)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        item = DTYPES[self.dtype].itemsize
        kept = len(self.statistics) if self.statistics_of == "channel" else 0
        vectors = 4 + kept + len(self.totals)
        for columns in channel_blocks(
            self.channels, vectors=vectors, item=item, kernel=self.name, processor=core_group.processor
        ):
            self.add(core_group, arguments, columns)

    def add(self, core_group: CoreGroup, arguments: Arguments, columns: range) -> None:
        """A block of channels."""
        dtype, cpe, cpes = DTYPES[self.dtype], core_group.cpe, core_group.cpes
        width, by_row = len(columns), self.statistics_of == "row"
        planes = len(self.totals)
        kept = {} if by_row else keep_vectors(core_group, arguments, self.statistics, columns)
        partial = core_group.alloc("sums", size=(1, planes, width), dtype=dtype, split=Split(rows=0, columns=0))
        row_bytes = [width * dtype.itemsize] * 2 + ([dtype.itemsize] * len(self.statistics) if by_row else [])
        rows = plan_rows(
            kernel=self.name,
            rows=self.rows,
            row_bytes=row_bytes,
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )

        def clear() -> None:
            partial.values()[...] = 0

        def add(ins: Sequence[Array], _: Sequence[Array]) -> None:
            grad, x, *statistics = ins
            if not by_row:
                statistics = [kept[name].values() for name in self.statistics]
            normal = (x - statistics[0] if self.centred else x) * statistics[-1]
            sums = partial.values()
            sums[:, 0] += (grad * normal).reshape(cpes, rows.per_cpe, width).sum(axis=1)
            if self.centred:
                sums[:, 1] += grad.reshape(cpes, rows.per_cpe, width).sum(axis=1)

        core_group.compute(
            "clear sums",
            cycles=stream_cycles(cpe=cpe, body=Body(stores=1), elements=planes * width),
            writes=[partial],
            run=clear,
        )
        operands = [rows.operand(arguments[name], columns=columns) for name in ("grad_y", "x")]
        if by_row:
            operands += [rows.operand(arguments[name]) for name in self.statistics]
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=operands,
            outputs=[],
            cycles=rows.cycles(
                Body(loads=2 + len(self.statistics) + planes, stores=planes, arithmetic=1 + planes + self.centred),
                cpe,
                row_elements=width,
            ),
            run=add,
            flops=self.rows * width * (5 if self.centred else 3),
            resident=list(kept.values()),
            accumulators=[partial],
        )

        def combine(sums: Array) -> list[Array]:
            mesh = sums.reshape(*core_group.mesh, planes, width)
            return list(mesh.sum(axis=0).sum(axis=0))

        put_totals(
            core_group,
            partial,
            [arguments[name] for name in self.totals],
            columns=columns,
            arithmetic=planes,
            combine=combine,
        )
        core_group.free(partial, *kept.values())


@dataclass(frozen=True)
class BatchNormalisationGradient:
    """``grad_x = gamma·inverse_deviation·(grad_y − grad_beta/rows − xhat·grad_gamma/rows)`` over (rows, channels).

    ``xhat = (x − mean)·inverse_deviation``; not ``affine``: gamma is 1.
    """

    rows: int
    channels: int
    dtype: DTypeName
    affine: bool = True

    @property
    def name(self) -> str:
        return "batch_normalisation_gradient"

    @property
    def vectors(self) -> tuple[str, ...]:
        """What there is one of for each channel."""
        given = ("mean", "inverse_deviation", "grad_gamma", "grad_beta")
        return (*given, "gamma") if self.affine else given

    def parameters(self) -> tuple[Parameter, ...]:
        matrix = (self.rows, self.channels)
        return (
            Parameter("grad_y", matrix, "in"),
            Parameter("x", matrix, "in"),
            *(Parameter(name, (self.channels,), "in", common=True) for name in self.vectors),
            Parameter("grad_x", matrix, "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        inverse = arrays["inverse_deviation"]
        scale = inverse * arrays["gamma"] if self.affine else inverse
        normal = (arrays["x"] - arrays["mean"]) * inverse
        level = (arrays["grad_beta"] + normal * arrays["grad_gamma"]) / self.rows
        arrays["grad_x"][...] = scale * (arrays["grad_y"] - level)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        item = DTYPES[self.dtype].itemsize
        vectors = 6 + len(self.vectors)
        for columns in channel_blocks(
            self.channels, vectors=vectors, item=item, kernel=self.name, processor=core_group.processor
        ):
            self.apply(core_group, arguments, columns)

    def apply(self, core_group: CoreGroup, arguments: Arguments, columns: range) -> None:
        """A block of channels."""
        cpe, width = core_group.cpe, len(columns)
        kept = keep_vectors(core_group, arguments, self.vectors, columns)
        core_group.compute(
            "fold",
            cycles=stream_cycles(
                cpe=cpe, body=Body(loads=len(kept), stores=3, arithmetic=4 + self.affine), elements=width
            ),
            reads=list(kept.values()),
            writes=[kept[name] for name in ("inverse_deviation", "grad_gamma", "grad_beta")],
            run=lambda: self.fold(kept),
        )
        row_bytes = width * DTYPES[self.dtype].itemsize
        rows = plan_rows(
            kernel=self.name,
            rows=self.rows,
            row_bytes=[row_bytes] * 3,
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            grad, x = ins
            np.subtract(x, kept["mean"].values(), out=outs[0])
            outs[0][...] *= kept["grad_gamma"].values()
            outs[0][...] += kept["grad_beta"].values()
            outs[0][...] += grad * kept["inverse_deviation"].values()

        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments[name], columns=columns) for name in ("grad_y", "x")],
            outputs=[rows.operand(arguments["grad_x"], columns=columns)],
            cycles=rows.cycles(Body(loads=6, stores=1, arithmetic=3), cpe, row_elements=width),
            run=run,
            flops=5 * self.rows * width,
            resident=[kept[name] for name in ("mean", "inverse_deviation", "grad_gamma", "grad_beta")],
        )
        core_group.free(*kept.values())

    def fold(self, kept: Mapping[str, Tile]) -> None:
        """Scale in place of the inverse deviation, and in place of the sums what the deviation is multiplied by."""
        inverse, grad_gamma, grad_beta = (
            kept[name].values() for name in ("inverse_deviation", "grad_gamma", "grad_beta")
        )
        scale = inverse * kept["gamma"].values() if self.affine else inverse.copy()
        share = -scale / scale.dtype.type(self.rows)
        grad_gamma[...] *= share * inverse
        grad_beta[...] *= share
        inverse[...] = scale
