"""Batch normalisation over (rows, channels): statistics, their folding into scale and shift, and the gradients.

A pass forward is BatchStatistics, FoldStatistics and ScaleShift, in inference the last two or only the last; a pass
backward is NormalisationSums and BatchNormalisationGradient, in inference the first and ScaleShift without a shift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.normalisation.channel_sums import channel_blocks, put_totals
from nnlib.kernels.streaming import plan_rows, stream
from nnlib.ops.normalisation import batch_statistics
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

Counts = NDArray[np.integer]


@dataclass(frozen=True)
class BatchStatistics:
    """``mean`` and biased ``variance`` of each channel of ``x`` (rows, channels), in one pass over memory.

    Each CPE takes a tile's mean and squared deviations from it, and combines them with those of its tiles before, as
    the CPEs' are combined in the end (Chan, Golub and LeVeque 1979): no digits are lost where the mean is large.
    """

    rows: int
    channels: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "batch_statistics"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("x", (self.rows, self.channels), "in"),
            Parameter("mean", (self.channels,), "out"),
            Parameter("variance", (self.channels,), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        statistics = batch_statistics(arrays["x"], epsilon=0.0)
        arrays["mean"][...], arrays["variance"][...] = statistics.mean, statistics.variance

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        item = DTYPES[self.dtype].itemsize
        for columns in channel_blocks(
            self.channels, vectors=4, item=item, kernel=self.name, processor=core_group.processor
        ):
            self.add(core_group, arguments, columns)

    def add(self, core_group: CoreGroup, arguments: Arguments, columns: range) -> None:
        """A block of channels."""
        dtype, cpe, cpes = DTYPES[self.dtype], core_group.cpe, core_group.cpes
        width = len(columns)
        partial = core_group.alloc("moments", size=(1, 2, width), dtype=dtype, split=Split(rows=0, columns=0))
        rows = plan_rows(
            kernel=self.name,
            rows=self.rows,
            row_bytes=[width * dtype.itemsize],
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )

        def clear() -> None:
            partial.values()[...] = 0

        def add(iteration: int, ins: Sequence[Array], _: Sequence[Array]) -> None:
            x = ins[0].reshape(cpes, rows.per_cpe, width)
            moments = partial.values()
            counts = np.array(rows.counts(iteration))
            mean = x.sum(axis=1) / np.maximum(counts, 1)[:, None].astype(x.dtype)
            deviation = x - mean[:, None]
            deviation[np.arange(rows.per_cpe) >= counts[:, None]] = 0
            squares = (deviation * deviation).sum(axis=1)
            before = np.full(cpes, iteration * rows.per_cpe)
            moments[:, 0], moments[:, 1] = _combined(moments[:, 0], moments[:, 1], before, mean, squares, counts)

        core_group.compute(
            "clear moments",
            cycles=stream_cycles(cpe=cpe, body=Body(stores=1), elements=2 * width),
            writes=[partial],
            run=clear,
        )
        of_tile = stream_cycles(cpe=cpe, body=Body(loads=2, stores=2, arithmetic=7), elements=width)
        of_rows = rows.cycles(Body(loads=2, arithmetic=3), cpe, row_elements=width)

        def cycles(iteration: int) -> list[float]:
            found = of_rows(iteration)
            assert isinstance(found, list)
            return [each + of_tile if each else 0.0 for each in found]

        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments["x"], columns=columns)],
            outputs=[],
            cycles=cycles,
            run_at=add,
            flops=4 * self.rows * width,
            accumulators=[partial],
        )
        counts = np.array(rows.counts(rows.iterations - 1)) + (rows.iterations - 1) * rows.per_cpe

        def combine(moments: Array) -> tuple[Array, Array]:
            mesh_rows, mesh_columns = core_group.mesh
            parts = moments[:, 0], moments[:, 1], counts
            mean, squares, _ = _merged(*_merged(*parts, mesh_rows, mesh_columns), mesh_columns, 1)
            return mean[0], squares[0] / dtype.type(self.rows)

        put_totals(
            core_group,
            partial,
            [arguments["mean"], arguments["variance"]],
            columns=columns,
            arithmetic=7,
            combine=combine,
        )
        core_group.free(partial)


def _combined(
    mean: Array, squares: Array, count: Counts, other_mean: Array, other_squares: Array, other_count: Counts
) -> tuple[Array, Array]:
    """Mean and squared deviations (n, channels) of two sets of numbers together, from those of each (Chan et al.)."""
    both = np.maximum(count + other_count, 1)
    share = (other_count / both)[:, None].astype(mean.dtype)
    cross = (count * other_count / both)[:, None].astype(mean.dtype)
    away = other_mean - mean
    return mean + away * share, squares + other_squares + away * away * cross


def _merged(mean: Array, squares: Array, count: Counts, ways: int, left: int) -> tuple[Array, Array, Counts]:
    """The same of ``ways`` sets for each of ``left``, which lie next to each other: (ways · left, channels)."""
    means, all_squares, counts = (each.reshape(ways, left, *each.shape[1:]) for each in (mean, squares, count))
    mean, squares, count = means[0], all_squares[0], counts[0]
    for other in range(1, ways):
        mean, squares = _combined(mean, squares, count, means[other], all_squares[other], counts[other])
        count = count + counts[other]
    return mean, squares, count
