"""Sums of tensors of integers whose steps differ: brought under one step, added in 32 bits, made narrow again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlib.kernels.fixed.fixed_point import FP64, begin_counts, end_counts, requantise_instructions
from nnlib.kernels.kernel import Arguments, Parameter, check_fits
from nnlib.kernels.streaming import plan_rows, stream
from nnlib.precision.fixed import Integers
from nnlib.precision.formats import STORAGE, IntegerName
from nnlib.precision.integer import integer_sum, requantise
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body
from sim.chip.tile import Split

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

COUNTS = 2
"""Sums that left 32 bits, and results that saturated."""


@dataclass(frozen=True)
class IntegerSum:
    """``y = round(multiplier · Σ round(ratio · x))`` of arrays ``x0``, ``x1``, ...: of one array a new step, or ReLU.

    ``scales``: a ratio for each array, then the multiplier. ``relu``: negative results become 0. ``clipped``: what does
    not fit above is cut off on purpose. ``saturated`` counts sums that left 32 bits, and results that did not fit.
    """

    elements: int
    count: int
    dtype: IntegerName
    relu: bool = False
    clipped: bool = False

    @property
    def name(self) -> str:
        return "integer_sum"

    def parameters(self) -> tuple[Parameter, ...]:
        """The arrays, the scales, y and the counts."""
        return (
            *(Parameter(f"x{number}", (self.elements,), "in") for number in range(self.count)),
            Parameter("scales", (self.count + 1,), "in", dtype="fp64"),
            Parameter("y", (self.elements,), "out"),
            Parameter("saturated", (COUNTS,), "out", dtype="int32"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        y, counts = self.add([arrays[f"x{number}"] for number in range(self.count)], arrays["scales"])
        arrays["y"][...], arrays["saturated"][...] = y, counts

    def add(self, parts: Sequence[Array], scales: Array) -> tuple[Integers, tuple[int, int]]:
        """The integers, and the counts."""
        sums = integer_sum(parts, scales[:-1])  # type: ignore[arg-type]
        y, outside = requantise(sums.values, scales[-1], self.dtype, relu=self.relu, clipped=self.clipped)
        return y, (sums.overflows, outside)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if not even one number of each array fits."""
        group, storage = core_group, STORAGE[self.dtype]
        widths = [storage.itemsize] * (self.count + 1)
        needed = aligned(8 * (self.count + 1)) + 2 * aligned(4 * COUNTS) + 2 * sum(map(aligned, widths))
        check_fits(kernel=self.name, needed=needed, processor=group.processor)
        scales = group.alloc("scales", size=(self.count + 1,), dtype=FP64, split=Split())
        group.wait(group.get(scales, arguments["scales"], (0,)))
        counts = begin_counts(group, COUNTS)
        rows = plan_rows(
            kernel=self.name,
            rows=self.elements,
            row_bytes=widths,
            resident=group.ldm.used,
            processor=group.processor,
        )

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            outs[0][...], found = self.add(ins, scales.values())
            counts.values()[0] += found

        # each part is widened, converted, scaled and rounded; then it is added
        widen = group.cpe.fixed_point.widen_instructions(8 * storage.itemsize)
        instructions = self.count * (widen + 4) + requantise_instructions(group, self.dtype, relu=self.relu)
        stream(
            group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments[f"x{number}"]) for number in range(self.count)],
            outputs=[rows.operand(arguments["y"])],
            cycles=rows.cycles(Body(loads=self.count, stores=1, arithmetic=instructions), group.cpe),
            run=run,
            resident=[scales],
            accumulators=[counts],
        )
        end_counts(group, counts, arguments["saturated"])
        group.free(scales)
