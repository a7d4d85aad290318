"""The soft Dice loss of one sample: sums over its positions, then loss and gradient.

:mod:`nnlib.ops.dice` has the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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
class Truth:
    """``labels`` (positions, 1) name a class; with ``binary`` they are the truth of the only class themselves.

    Negative ones leave their positions out.
    """

    binary: bool = False

    def of(self, labels: Array, columns: range) -> tuple[Array, NDArray[np.bool_]]:
        """The truth (positions, classes) of some classes, and which positions (positions, 1) count."""
        valid = labels >= 0
        if self.binary:
            return labels * valid, valid
        return (labels == np.arange(columns.start, columns.stop)).astype(labels.dtype), valid


@dataclass(frozen=True)
class DiceSums:
    """Of each class ``both = Σ p·t`` and ``sizes = Σ p + Σ t``, squared terms with ``squared``."""

    positions: int
    classes: int
    dtype: DTypeName
    binary: bool = False
    squared: bool = False

    @property
    def name(self) -> str:
        return "dice_sums"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("probabilities", (self.positions, self.classes), "in"),
            Parameter("labels", (self.positions, 1), "in"),
            Parameter("both", (self.classes,), "out"),
            Parameter("sizes", (self.classes,), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        both, sizes = self.terms(arrays["probabilities"], arrays["labels"], range(self.classes))
        arrays["both"][...], arrays["sizes"][...] = both.sum(axis=0), sizes.sum(axis=0)

    def terms(self, probabilities: Array, labels: Array, columns: range) -> tuple[Array, Array]:
        """What each position adds to the sums of some classes."""
        truth, valid = Truth(self.binary).of(labels, columns)
        p = probabilities * valid
        return p * truth, p * p + truth * truth if self.squared else p + truth

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        item = DTYPES[self.dtype].itemsize
        for columns in channel_blocks(
            self.classes, vectors=6, item=item, kernel=self.name, processor=core_group.processor
        ):
            self.add(core_group, arguments, columns)

    def add(self, core_group: CoreGroup, arguments: Arguments, columns: range) -> None:
        """A block of classes."""
        dtype, cpe, width = DTYPES[self.dtype], core_group.cpe, len(columns)
        partial = core_group.alloc("partial", size=(1, 2, width), dtype=dtype, split=Split(rows=0, columns=0))
        rows = plan_rows(
            kernel=self.name,
            rows=self.positions,
            row_bytes=[width * dtype.itemsize, dtype.itemsize],
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )

        def clear() -> None:
            partial.values()[...] = 0

        def run(iteration: int, ins: Sequence[Array], _: Sequence[Array]) -> None:
            sums = partial.values()
            # CPEs without positions have zeros, which would be labels of the first class
            there = (np.arange(rows.per_cpe) < np.array(rows.counts(iteration))[:, None]).reshape(-1, 1)
            labels = np.where(there, ins[1], -1)
            for place, each in enumerate(self.terms(ins[0], labels, columns)):
                sums[:, place] += each.reshape(core_group.cpes, rows.per_cpe, width).sum(axis=1)

        cycles = stream_cycles(cpe=cpe, body=Body(stores=2), elements=width)
        core_group.compute("clear partial sums", cycles=cycles, writes=[partial], run=clear)
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments["probabilities"], columns=columns), rows.operand(arguments["labels"])],
            outputs=[],
            cycles=rows.cycles(Body(loads=3, stores=2, arithmetic=5), cpe, row_elements=width),
            run_at=run,
            flops=5 * self.positions * width,
            accumulators=[partial],
        )
        put_totals(
            core_group,
            partial,
            [arguments["both"], arguments["sizes"]],
            columns=columns,
            arithmetic=2,
            combine=lambda parts: list(parts.sum(axis=0)),
        )
        core_group.free(partial)


@dataclass(frozen=True)
class DiceGradient:
    """The loss ``share·(1 − mean of (2·both + smooth)/(sizes + smooth))`` and its gradient by the probabilities."""

    positions: int
    classes: int
    dtype: DTypeName
    smooth: float = 1.0
    binary: bool = False
    squared: bool = False

    @property
    def name(self) -> str:
        return "dice_gradient"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("probabilities", (self.positions, self.classes), "in"),
            Parameter("labels", (self.positions, 1), "in"),
            Parameter("both", (self.classes,), "in"),
            Parameter("sizes", (self.classes,), "in"),
            Parameter("share", (1,), "in"),
            Parameter("grad_probabilities", (self.positions, self.classes), "out"),
            Parameter("loss", (1,), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        loss, by_truth, by_size = self.coefficients(arrays["both"], arrays["sizes"], arrays["share"])
        arrays["loss"][...] = loss
        arrays["grad_probabilities"][...] = self.gradient(
            arrays["probabilities"], arrays["labels"], by_truth, by_size, range(self.classes)
        )

    def coefficients(self, both: Array, sizes: Array, share: Array) -> tuple[Array, Array, Array]:
        """A block of classes' part of the loss, and what truth and size are multiplied by."""
        upper, lower = 2 * both + self.smooth, sizes + self.smooth
        scale = share / self.classes
        loss: Array = (scale * (1 - upper / lower)).sum(keepdims=True)
        return loss, -2 * scale / lower, scale * upper / lower**2

    def gradient(self, probabilities: Array, labels: Array, by_truth: Array, by_size: Array, columns: range) -> Array:
        """Of some classes."""
        truth, valid = Truth(self.binary).of(labels, columns)
        size = 2 * by_size * probabilities if self.squared else by_size
        found: Array = (truth * by_truth + size) * valid
        return found

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        dtype = DTYPES[self.dtype]
        loss = core_group.alloc("loss", size=(1,), dtype=dtype)
        share = keep_vectors(core_group, arguments, ["share"], range(1))["share"]

        def clear() -> None:
            loss.values()[...] = 0

        core_group.compute("clear the loss", cycles=1, writes=[loss], run=clear)
        for columns in channel_blocks(
            self.classes, vectors=9, item=dtype.itemsize, kernel=self.name, processor=core_group.processor
        ):
            self.add(core_group, arguments, columns, share=share, loss=loss)
        # all CPEs have the same loss; only CPE (0, 0) has its place inside the array
        starts = np.ones((core_group.cpes, 1), dtype=np.int64)
        starts[0] = 0
        core_group.wait(core_group.put(loss, arguments["loss"], starts))
        core_group.free(loss, share)

    def add(self, core_group: CoreGroup, arguments: Arguments, columns: range, *, share: Tile, loss: Tile) -> None:
        """A block of classes."""
        dtype, cpe, width = DTYPES[self.dtype], core_group.cpe, len(columns)
        kept = keep_vectors(core_group, arguments, ["both", "sizes"], columns)
        both, sizes = kept["both"], kept["sizes"]

        def coefficients() -> None:
            more, by_truth, by_size = self.coefficients(both.values(), sizes.values(), share.values())
            loss.values()[...] += more
            both.values()[...], sizes.values()[...] = by_truth, by_size

        body = Body(loads=2, stores=2, arithmetic=8, divides=1)
        cycles = stream_cycles(cpe=cpe, body=body, elements=width)
        tiles = [both, sizes, loss]
        core_group.compute("coefficients", cycles=cycles, reads=[*tiles, share], writes=tiles, run=coefficients)
        rows = plan_rows(
            kernel=self.name,
            rows=self.positions,
            row_bytes=[width * dtype.itemsize, dtype.itemsize, width * dtype.itemsize],
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            outs[0][...] = self.gradient(ins[0], ins[1], both.values(), sizes.values(), columns)

        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments["probabilities"], columns=columns), rows.operand(arguments["labels"])],
            outputs=[rows.operand(arguments["grad_probabilities"], columns=columns)],
            # the coefficients come from the LDM as well
            cycles=rows.cycles(Body(loads=3, stores=1, arithmetic=4), cpe, row_elements=width),
            run=run,
            flops=3 * self.positions * width,
            resident=[both, sizes],
        )
        core_group.free(both, sizes)
