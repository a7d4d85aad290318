"""The tile program of a lattice: alpha from the first step to the last, then beta back and the occupancies.

A row of the mesh has a sample, its CPEs equal shares of the positions. At each step a CPE needs its neighbours' last
(for beta first) two positions, and the row's largest number: register communication along the row. Steps come and go
in blocks, double-buffered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.double_buffer import DoubleBuffer
from nnlib.kernels.kernel import Arguments, check_fits
from nnlib.kernels.sequences.grid import Grid
from nnlib.kernels.window import MISSING
from nnlib.ops.ctc_lattice import backward_row, end_log_sum, forward_row, lowered, occupancy_row, start_row
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split, Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer

SHARED = Split(rows=0, columns=1)
STEPS = Split(rows=0, columns=2)
OF_SAMPLE = Split(rows=0)

# three exponentials and a logarithm for each position
ALPHA = Body(loads=5, stores=1, arithmetic=12, exponentials=4)
LOWER = Body(loads=1, stores=2, arithmetic=2)
BETA = Body(loads=5, stores=1, arithmetic=13, exponentials=4)
OCCUPANCY = Body(loads=3, stores=2, arithmetic=5, exponentials=1)
SCALE = Body(loads=3, stores=2, arithmetic=3)


@dataclass(frozen=True, kw_only=True)
class CtcLattice:
    """Over ``batch`` samples, as many at once as the mesh has rows."""

    batch: int
    steps: int
    positions: int
    dtype: DTypeName
    masked: bool
    normalised: bool
    zero_infinity: bool
    core_group: CoreGroup

    def run(self, arguments: Arguments) -> None:
        """All samples. Raises InfeasiblePlan if one step's shares do not fit."""
        share, block = self.plan()
        rows = self.core_group.mesh[0]
        for number in self.core_group.loop("samples", -(-self.batch // rows), steady=range(self.batch // rows)):
            self.core_group.sync("samples")
            Samples(lattice=self, share=share, block=block, number=number, arguments=arguments).run()

    def plan(self) -> tuple[int, int]:
        """Positions of a CPE, and steps of a block. Raises InfeasiblePlan."""
        processor, item = self.core_group.processor, DTYPES[self.dtype].itemsize
        share = -(-self.positions // self.core_group.mesh[1])

        def needed(block: int) -> int:
            return 3 * aligned(share * item) + 6 * aligned(block * share * item) + 5 * aligned(8)

        check_fits(kernel="ctc_loss", needed=needed(1), processor=processor)
        blocks = 1
        while needed(-(-self.steps // blocks)) > processor.cpe.ldm_bytes:
            blocks += 1
        block = -(-self.steps // blocks)
        lines = processor.dma.line_bytes // item  # whole lines, so that all blocks lie alike in them
        return share, block // lines * lines if lines < block < self.steps else block


class Samples:
    """The samples of round ``number``; ``share`` positions of a CPE, ``block`` steps at a time."""

    def __init__(self, *, lattice: CtcLattice, share: int, block: int, number: int, arguments: Arguments) -> None:
        self.lattice, self.group, self.arguments = lattice, lattice.core_group, arguments
        self.share, self.length, self.number = share, block, number
        self.first = number * self.group.mesh[0]
        self.grid = Grid(rows=lattice.batch, columns=lattice.positions, part=(1, share), mesh=self.group.mesh)
        self.dtype = DTYPES[lattice.dtype]
        cpe = self.group.cpe
        columns = self.group.mesh[1]
        self.combine = stream_cycles(cpe=cpe, body=Body(arithmetic=columns - 1), elements=cpe.vector_lanes)

    def run(self) -> None:
        """Alpha, loss, beta."""
        alloc, dtype, share = self.group.alloc, self.dtype, self.share
        self.labels = alloc("labels", size=(1, share), dtype=dtype, split=SHARED)
        self.weights = alloc("weights", size=(1, 1), dtype=dtype, split=OF_SAMPLE)
        self.lengths = alloc("lengths", size=(1, 1), dtype=dtype, split=OF_SAMPLE)
        self.skips = alloc("skips", size=(1, share), dtype=dtype, split=SHARED)
        self.row = alloc("row", size=(1, share), dtype=dtype, split=SHARED)
        self.taken_out = alloc("taken out", size=(1, 1), dtype=DTYPES["fp64"], split=OF_SAMPLE)
        self.group.wait(
            self.group.get(self.labels, self.arguments["positions"], (self.first, 0)),
            self.group.get(self.weights, self.arguments["weights"], (self.first, 0)),
        )
        if self.lattice.masked:
            self.group.wait(self.group.get(self.lengths, self.arguments["lengths"], (self.first, 0)))
        self.group.row_broadcast("labels of neighbours")

        def begin() -> None:
            found = self.labels.values()
            if not self.lattice.masked:
                self.lengths.values()[...] = self.lattice.steps
            skips = np.zeros_like(found)
            skips[:, 3::2] = found[:, 3::2] != found[:, 1:-2:2]
            self.skips.values()[...] = skips * self.used
            self.row.values()[...] = start_row(self.used, self.dtype)
            self.taken_out.values()[...] = 0

        self.compute(
            "begin",
            Body(loads=2, stores=2, arithmetic=4),
            reads=[self.labels],
            writes=[self.skips, self.row, self.taken_out, *(() if self.lattice.masked else (self.lengths,))],
            run=begin,
        )
        self.blocks("alpha", ["emission"], backward=False)
        self.put_loss()
        self.blocks("beta", ["emission", "occupancy"], backward=True)
        self.group.free(self.labels, self.weights, self.lengths, self.skips, self.row, self.taken_out)

    @property
    def used(self) -> NDArray[np.bool_]:
        """The positions that the targets of these samples have."""
        places = np.arange(self.share * self.group.mesh[1])
        used: NDArray[np.bool_] = (self.labels.values() >= 0) & (places < self.lattice.positions)
        return used

    @property
    def ends(self) -> NDArray[np.bool_]:
        """Their last labels and the blanks behind them."""
        used = self.used
        followed = np.zeros_like(used)
        followed[:, :-2] = used[:, 2:]
        return used & ~followed

    def compute(
        self,
        label: str,
        body: Body,
        *,
        reads: Sequence[Tile],
        writes: Sequence[Tile],
        combined: int = 0,
        run: Callable[[], None] | None = None,
    ) -> None:
        """A pass over each CPE's positions, ``combined`` numbers of the row's CPEs brought together before."""
        cycles = self.grid.cycles(body, self.group.cpe)

        def of() -> list[float]:
            each = cycles(self.number)
            assert not isinstance(each, float)
            return [found + combined * self.combine if found else 0.0 for found in each]

        self.group.compute(label, cycles=of, reads=reads, writes=writes, run=run)

    def blocks(self, label: str, names: Sequence[str], *, backward: bool) -> None:
        """Get each block of steps of the arrays ``names``, go over its steps, put the block of ``occupancy``."""
        group, steps, length = self.group, self.lattice.steps, self.length
        size = (1, length, self.share)
        ins = [DoubleBuffer.of(group, f"{name} in", size=size, dtype=self.dtype, split=STEPS) for name in names]
        out = DoubleBuffer.of(group, "occupancy out", size=size, dtype=self.dtype, split=STEPS)
        count = -(-steps // length)

        def start(number: int) -> tuple[int, int, int]:
            return self.first, (count - 1 - number if backward else number) * length, 0

        def get(number: int) -> list[Transfer]:
            return [
                each.get(number, self.arguments[name], start(number)) for each, name in zip(ins, names, strict=True)
            ]

        under_way = get(0)
        puts: deque[Transfer] = deque()
        # the block that may be shorter comes first or last
        steady = range(3 if backward else 2, count - 1 if backward else steps // length - 1)
        for number in group.loop(label, count, steady=steady):
            group.sync("block")
            following = get(number + 1) if number + 1 < count else []
            group.wait(*under_way)
            under_way = following
            if len(puts) == 2:
                group.wait(puts.popleft())
            first = start(number)[1]
            here = min(length, steps - first)
            tiles = [each.tile(number) for each in ins]
            for place in group.loop(f"{label} steps", here, steady=range(here)):
                within = here - 1 - place if backward else place
                if backward:
                    self.beta(tiles[0], tiles[1], out.tile(number), first + within, within)
                else:
                    self.alpha(tiles[0], out.tile(number), first + within, within)
            puts.append(out.put(number, self.arguments["occupancy"], start(number)))
        group.wait(*puts)
        for each in (*ins, out):
            each.free()

    def alpha(self, emission: Tile, out: Tile, step: int, within: int) -> None:
        """A step forward."""

        def run() -> None:
            seen = np.where(self.used, emission.values()[:, within], -np.inf).astype(self.dtype)
            new, top = lowered(forward_row(self.row.values(), seen, self.skips.values() > 0))
            inside = step < self.lengths.values()
            self.row.values()[...] = np.where(inside, new, self.row.values())
            self.taken_out.values()[...] += np.where(inside, top, 0)
            out.values()[:, within] = self.row.values()

        self.group.row_broadcast("positions of neighbours")
        self.compute("alpha", ALPHA, reads=[emission, self.row, self.skips], writes=[self.row])
        self.group.row_broadcast("largest")
        tiles = [self.row, self.taken_out]
        self.compute(
            "lower", LOWER, combined=1, reads=[*tiles, self.lengths, self.labels], writes=[*tiles, out], run=run
        )

    def beta(self, emission: Tile, alpha: Tile, out: Tile, step: int, within: int) -> None:
        """A step back; the row holds what follows, its own step's emission included."""

        def run() -> None:
            length = self.lengths.values()
            end = np.where(self.ends, np.zeros((), dtype=self.dtype), -np.inf).astype(self.dtype)
            before, _ = lowered(backward_row(self.row.values(), self.skips.values() > 0))
            row = np.where(step + 1 < length, before, end)
            found = occupancy_row(alpha.values()[:, within], row)
            out.values()[:, within] = np.where(step < length, found, 0)
            seen = np.where(self.used, emission.values()[:, within], -np.inf).astype(self.dtype)
            self.row.values()[...] = row + seen

        self.group.row_broadcast("positions of neighbours")
        self.compute("beta", BETA, reads=[alpha, self.row, self.skips, self.lengths, self.labels], writes=[self.row])
        self.group.row_broadcast("largest")
        self.compute("occupancy", OCCUPANCY, combined=2, reads=[alpha, self.row], writes=[self.row, out])
        self.group.row_broadcast("sum")
        self.compute("scale", SCALE, combined=1, reads=[emission, self.row], writes=[self.row, out], run=run)

    def put_loss(self) -> None:
        """The losses and what gradients are to be multiplied by, from the first CPE of each row."""
        group = self.group
        rows, columns = group.mesh
        tiles = {
            name: group.alloc(f"{name} out", size=(1, 1), dtype=self.dtype, split=None) for name in ("loss", "scale")
        }

        def run() -> None:
            used, weight = self.used, self.weights.values()[:, 0]
            if self.lattice.normalised:
                weight = weight / np.maximum(used[:, 1::2].sum(axis=1), 1).astype(self.dtype)
            loss = -(self.taken_out.values()[:, 0] + end_log_sum(self.row.values(), self.ends)).astype(self.dtype)
            lost = np.isinf(loss)
            void = (weight == 0) | (lost & self.lattice.zero_infinity)
            found = {
                "loss": np.where(void, 0, loss) * weight,
                "scale": np.where(void, 0, np.where(lost, np.nan, weight)),
            }
            for name, tile in tiles.items():
                tile.values()[:, 0, 0] = np.repeat(found[name], columns)

        group.row_broadcast("ends")
        body = Body(loads=2, arithmetic=5, exponentials=3, divides=1 if self.lattice.normalised else 0)
        self.compute(
            "loss", body, reads=[self.row, self.labels, self.weights, self.taken_out], writes=[*tiles.values()], run=run
        )
        starts = np.full((group.cpes, 2), MISSING)
        starts[::columns, 0] = self.first + np.arange(rows)
        starts[::columns, 1] = 0
        group.wait(*(group.put(tile, self.arguments[name], starts) for name, tile in tiles.items()))
        group.free(*tiles.values())
