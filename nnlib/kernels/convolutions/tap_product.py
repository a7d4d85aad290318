"""A convolution pass as matrix products, one for each pair of pixels that a tap brings together.

Channels last, as the reference has them. Seen by place, group and channel every pass is the same thing:

* forward: an output pixel (the place) sums over taps x (images × ni) · weight (ni × no);
* input gradient: a pixel of x sums over taps grad_y (images × no) · weightᵀ (no × ni);
* weight gradient: a tap sums over output pixels xᵀ (ni × images) · grad_y (images × no).

This is the convolution by matrix multiplication of TACO18, its pixels and taps outside, images and channels inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.passes import pass_parameters, whole_pass
from nnlib.kernels.convolutions.taps import Taps
from nnlib.kernels.kernel import Arguments, Parameter
from sim.chip.dma import Integers
from sim.chip.memory import Array, MemoryArray

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

OUTSIDE: Final = 1 << 30
"""An index outside every array: what begins there is not transferred."""


@dataclass(frozen=True)
class PartSize:
    """What a CPE has of a product at a time: m × n outputs, sums over k products."""

    m: int
    n: int
    k: int


@dataclass(frozen=True, eq=False)
class Work:
    """A CPE's outputs in a round, one number per CPE: place, group, first of m and n. ``active``: it has any."""

    row: int
    column: Integers
    group: Integers
    m: Integers
    n: Integers
    active: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Step:
    """A product's operands by their starts, (CPEs, 5) each, and its size for each CPE, (CPEs, 3): 0 for none.

    ``first`` and ``last`` of its sum; ``row_ends``: the last one of a row of pixels.
    """

    work: Work
    a: Integers
    b: Integers
    size: Integers
    first: bool
    last: bool
    row_ends: bool


@dataclass(frozen=True, kw_only=True)
class TapProduct:
    """A pass in parts of ``part``; see the module's docstring."""

    convolution: Convolution
    which: Pass
    part: PartSize

    @property
    def by_tap(self) -> bool:
        """True if the places are taps, as in the weight gradient."""
        return self.which == "weight_gradient"

    @cached_property
    def taps(self) -> tuple[Taps, Taps]:
        """Along rows and along columns."""
        rows = Taps.of(self.convolution, self.which, "rows")
        return rows, Taps.of(self.convolution, self.which, "columns")

    @property
    def places(self) -> tuple[int, int]:
        """Rows and columns of what is written."""
        rows, columns = self.taps
        return (rows.taps, columns.taps) if self.by_tap else (rows.targets, columns.targets)

    @property
    def terms(self) -> tuple[int, int]:
        """Rows and columns of what a place sums over."""
        rows, columns = self.taps
        return (rows.targets, columns.targets) if self.by_tap else (rows.taps, columns.taps)

    @property
    def extent(self) -> tuple[int, int, int]:
        """m, n and k of a whole product."""
        convolution = self.convolution
        match self.which:
            case "forward":
                return convolution.batch, convolution.group_no, convolution.group_ni
            case "input_gradient":
                return convolution.batch, convolution.group_ni, convolution.group_no
            case "weight_gradient":
                return convolution.group_ni, convolution.group_no, convolution.batch

    @property
    def tile_sizes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Of a, b and c, on the axes of :meth:`operands`."""
        m, n, k = self.part.m, self.part.n, self.part.k
        match self.which:
            case "forward":
                return (m, 1, 1, 1, k), (1, 1, k, 1, n), (m, 1, 1, 1, n)
            case "input_gradient":
                return (m, 1, 1, 1, k), (1, 1, n, 1, k), (m, 1, 1, 1, n)
            case "weight_gradient":
                return (k, 1, 1, 1, m), (k, 1, 1, 1, n), (1, 1, m, 1, n)

    def parameters(self) -> tuple[Parameter, ...]:
        """The arguments: two inputs and the output."""
        convolution = self.convolution
        return pass_parameters(
            self.which, x=convolution.x_shape, weight=convolution.weight_shape, y=convolution.y_shape
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The pass by whole arrays."""
        arrays[self.names[2]][...] = whole_pass(self.convolution, self.which, arrays)

    @property
    def names(self) -> tuple[str, str, str]:
        """Of the arrays behind a, b and c."""
        first, second, result = (parameter.name for parameter in self.parameters())
        return (second, first, result) if self.by_tap else (first, second, result)

    def operands(self, arguments: Arguments) -> tuple[MemoryArray, MemoryArray, MemoryArray]:
        """a, b and c with the channels seen by group."""
        groups = self.convolution.groups
        return tuple(  # type: ignore[return-value]
            array.reshape(*array.shape[:-1], groups, array.shape[-1] // groups)
            for array in map(arguments.__getitem__, self.names)
        )

    def product(self, a: Array, b: Array) -> Array:
        """The CPEs' products of tiles a and b, shape (CPEs, m, n)."""
        m, n, k = self.part.m, self.part.n, self.part.k
        cpes = len(a)
        match self.which:
            case "forward":
                return a.reshape(cpes, m, k) @ b.reshape(cpes, k, n)
            case "input_gradient":
                return a.reshape(cpes, m, k) @ b.reshape(cpes, n, k).transpose(0, 2, 1)
            case "weight_gradient":
                return a.reshape(cpes, k, m).transpose(0, 2, 1) @ b.reshape(cpes, k, n)

    def steps(self, core_group: CoreGroup) -> Iterator[Step]:
        """All products in order, in the loops of ``core_group``.

        Outputs are dealt out to the CPEs in rounds: the blocks of a place side by side, and as many neighbouring
        places as there are CPEs for.
        """
        blocks, cpes = self.blocks(), core_group.cpes
        side_by_side = max(1, cpes // blocks)
        rows, columns = self.taps
        groups_of_places = -(-self.places[1] // side_by_side)
        steady_rows = None if self.by_tap else rows.steady
        steady_columns = None
        if not self.by_tap:
            first = -(-columns.steady.start // side_by_side)
            steady_columns = _inside(range(first, columns.steady.stop // side_by_side), groups_of_places)
        column_period = columns.period // gcd(columns.period, side_by_side)
        for row in core_group.loop("rows", self.places[0], steady=steady_rows, period=rows.period):
            for column in core_group.loop("columns", groups_of_places, steady=steady_columns, period=column_period):
                turns = -(-blocks // cpes)
                for turn in core_group.loop("blocks", turns):
                    work = self._work(
                        row=row, column=column * side_by_side, side_by_side=side_by_side, first=turn * cpes, cpes=cpes
                    )
                    ends = (column, turn) == (groups_of_places - 1, turns - 1)
                    yield from self._sum(core_group, work, row_ends=ends)

    def blocks(self) -> int:
        """Parts of m × n outputs of a place, over all groups."""
        m, n, _ = self.extent
        return self.convolution.groups * -(-m // self.part.m) * -(-n // self.part.n)

    def steps_per_cpe(self, cpes: int) -> int:
        """Products of the busiest of ``cpes`` CPEs."""
        blocks = self.blocks()
        rounds = self.places[0] * -(-self.places[1] // max(1, cpes // blocks)) * -(-blocks // cpes)
        return rounds * self.terms[0] * self.terms[1] * -(-self.extent[2] // self.part.k)

    def _work(self, *, row: int, column: int, side_by_side: int, first: int, cpes: int) -> Work:
        m, n, _ = self.extent
        blocks = self.blocks()
        place, block = np.divmod(np.arange(first, first + cpes), blocks)
        active = (place < side_by_side) & (column + place < self.places[1])
        group, rest = np.divmod(block, -(-m // self.part.m) * -(-n // self.part.n))
        m_block, n_block = np.divmod(rest, -(-n // self.part.n))
        return Work(
            row=row,
            column=np.where(active, column + place, 0),
            group=group,
            m=m_block * self.part.m,
            n=n_block * self.part.n,
            active=active,
        )

    def _sum(self, core_group: CoreGroup, work: Work, *, row_ends: bool) -> Iterator[Step]:
        """The products that make up a round's outputs."""
        rows, columns = self.taps
        depth = self.extent[2]
        inner = self.terms
        steady: tuple[range | None, range | None] = (None, None)
        if self.by_tap:
            steady = _inside(rows.steady, inner[0]), _inside(columns.steady, inner[1])
        deep = -(-depth // self.part.k)
        for i in core_group.loop("inner rows", inner[0], steady=steady[0]):
            for j in core_group.loop("inner columns", inner[1], steady=steady[1]):
                for p in core_group.loop("depth", deep):
                    row_end = (j, p) == (inner[1] - 1, deep - 1)
                    last = row_end and i == inner[0] - 1
                    yield self._step(
                        work,
                        (i, j, p * self.part.k),
                        first=(i, j, p) == (0, 0, 0),
                        last=last,
                        row_ends=row_end if self.by_tap else row_ends and last,
                    )

    def _step(self, work: Work, where: tuple[int, int, int], *, first: bool, last: bool, row_ends: bool) -> Step:
        (i, j, k), (m, n, depth) = where, self.extent
        rows, columns = self._sources
        if self.by_tap:
            row, column = np.full_like(work.column, rows[i, work.row]), columns[j, work.column]
        else:
            row, column = np.full_like(work.column, rows[work.row, i]), columns[work.column, j]
        has = work.active & (row >= 0) & (column >= 0)
        each = np.ones_like(work.column)
        match self.which:
            case "forward":
                a = (work.m, row, column, work.group, k * each)
                b = (i * each, j * each, k * each, work.group, work.n)
            case "input_gradient":
                a = (work.m, row, column, work.group, k * each)
                b = (i * each, j * each, work.n, work.group, k * each)
            case "weight_gradient":
                a = (k * each, row, column, work.group, work.m)
                b = (k * each, i * each, j * each, work.group, work.n)
        part = self.part
        size = (
            np.minimum(part.m, m - work.m),
            np.minimum(part.n, n - work.n),
            np.full_like(work.m, min(part.k, depth - k)),
        )
        return Step(
            work=work,
            a=_starts(a, has),
            b=_starts(b, has),
            size=np.where(has[:, None], np.stack(size, axis=1), 0),
            first=first,
            last=last,
            row_ends=row_ends,
        )

    def output(self, work: Work) -> Integers:
        """Starts of the outputs of a round."""
        if self.by_tap:
            start = (np.full_like(work.column, work.row), work.column, work.m, work.group, work.n)
        else:
            start = (work.m, np.full_like(work.column, work.row), work.column, work.group, work.n)
        return _starts(start, work.active)

    @cached_property
    def _sources(self) -> tuple[Integers, Integers]:
        """Source pixel of each target and tap along rows and columns, -1 for none."""
        rows, columns = self.taps
        return _table(rows), _table(columns)


def _inside(steady: range, iterations: int) -> range:
    """Without the first and the last iteration, in which sums begin and rows end."""
    first = max(steady.start, 1)
    return range(first, max(first, min(steady.stop, iterations - 1)))


def _table(taps: Taps) -> Integers:
    found = [[taps.source(target, tap) for tap in range(taps.taps)] for target in range(taps.targets)]
    return np.array([[-1 if each is None else each for each in row] for row in found], dtype=np.int64)


def _starts(axes: tuple[Integers, ...], has: NDArray[np.bool_]) -> Integers:
    starts = np.stack(axes, axis=1)
    return np.where(has[:, None], starts, OUTSIDE)
