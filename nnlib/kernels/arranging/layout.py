"""Layout transforms between the data orders of the convolution plans, all of them transposes of matrices.

Images: channels last (batch, pixels and channels) and channels first (channels and batch, pixels) against pixel-major
(pixels and channels, batch) = (pixels, channels and batch). Weights: each tap's (ni, no) against (no, ni). A transform
is a kernel of its own between layers of different plans (SWCAFFE, TACO18 "tensor transform").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.convolutions.convolution import Convolution
from nnlib.kernels.estimates import doubling
from nnlib.kernels.kernel import Arguments, InfeasiblePlan, Parameter
from nnlib.kernels.order import Order
from nnlib.kernels.streaming import Operand, stream
from nnlib.precision import DTYPES, DTypeName
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import transpose_cycles
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

NOWHERE = 1 << 30
"""The matrix of a CPE that has no tile: outside every array."""


@dataclass(frozen=True)
class Transpose:
    """``y[i] = x[i]ᵀ`` for each of ``matrices`` matrices of ``rows`` × ``columns``."""

    matrices: int
    rows: int
    columns: int
    dtype: DTypeName
    label: str = "transpose"

    @property
    def name(self) -> str:
        return self.label

    def parameters(self) -> tuple[Parameter, ...]:
        """x and y."""
        return (
            Parameter("x", (self.matrices, self.rows, self.columns), "in"),
            Parameter("y", (self.matrices, self.columns, self.rows), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """All at once."""
        arrays["y"][...] = arrays["x"].swapaxes(1, 2)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if no tile fits the LDM."""
        tiles = _plan(self, core_group.processor)
        per_tile = transpose_cycles(cpe=core_group.cpe, elements=tiles.rows * tiles.columns)

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            outs[0][...] = ins[0].swapaxes(2, 3)

        stream(
            core_group,
            self.name,
            iterations=len(tiles.sources),
            inputs=[
                Operand(
                    arguments["x"], (1, tiles.rows, tiles.columns), lambda iteration: tiles.sources[iteration], None
                )
            ],
            outputs=[
                Operand(
                    arguments["y"], (1, tiles.columns, tiles.rows), lambda iteration: tiles.targets[iteration], None
                )
            ],
            cycles=lambda iteration: np.where(tiles.sources[iteration][:, 0] < NOWHERE, per_tile, 0.0).tolist(),
            run=run,
            whole=tiles.whole,
            period=tiles.period,
        )


@dataclass(frozen=True, eq=False)
class _Tiles:
    """Tiles of ``rows`` × ``columns``, dealt out to the CPEs in turn: starts (iterations, CPEs, axes) in x and in y.

    ``whole``: iterations with a whole tile for every CPE but for those at the ends of rows, which come again after
    ``period`` iterations.
    """

    rows: int
    columns: int
    sources: Integers
    targets: Integers
    whole: range | None
    period: int


@lru_cache(maxsize=64)
def _plan(kernel: Transpose, processor: ProcessorSpec) -> _Tiles:
    """The tiles with the least lines moved among those that fit the LDM."""
    item, line = DTYPES[kernel.dtype].itemsize, processor.dma.line_bytes
    best: tuple[float, int, int] | None = None
    for rows in doubling(kernel.rows):
        for columns in doubling(kernel.columns):
            if 4 * aligned(item * rows * columns) > processor.cpe.ldm_bytes:
                continue
            moved = rows * -(-columns * item // line) + columns * -(-rows * item // line)
            # requests and startups count by the tile: of equal ones the larger
            cost = (moved + 2 * processor.dma.request_seconds / processor.dma.line_seconds) / (rows * columns)
            if best is None or cost < best[0]:
                best = cost, rows, columns
    if best is None:
        raise InfeasiblePlan(kernel=kernel.name, needed=4 * aligned(item), available=processor.cpe.ldm_bytes)
    _, rows, columns = best
    down, across, cpes = -(-kernel.rows // rows), -(-kernel.columns // columns), processor.cpes_per_core_group
    count = kernel.matrices * down * across
    iterations = -(-count // cpes)
    number = np.arange(iterations * cpes, dtype=np.int64)
    matrix = np.where(number < count, number // (down * across), NOWHERE)
    row, column = number // across % down * rows, number % across * columns
    return _Tiles(
        rows=rows,
        columns=columns,
        sources=np.stack([matrix, row, column], axis=1).reshape(iterations, cpes, 3),
        targets=np.stack([matrix, column, row], axis=1).reshape(iterations, cpes, 3),
        whole=range(kernel.rows // rows * across // cpes) if kernel.matrices == 1 else None,
        period=across // gcd(across, cpes),
    )


def to_pixel_major(*, order: Order, batch: int, rows: int, columns: int, channels: int, dtype: DTypeName) -> Transpose:
    """Images in an order into (rows, columns, channels, batch)."""
    if order == "channels-last":
        return Transpose(matrices=1, rows=batch, columns=rows * columns * channels, dtype=dtype)
    return Transpose(matrices=1, rows=channels * batch, columns=rows * columns, dtype=dtype)


def from_pixel_major(
    *, order: Order, batch: int, rows: int, columns: int, channels: int, dtype: DTypeName
) -> Transpose:
    """Images (rows, columns, channels, batch) into an order."""
    if order == "channels-last":
        return Transpose(matrices=1, rows=rows * columns * channels, columns=batch, dtype=dtype)
    return Transpose(matrices=1, rows=rows * columns, columns=channels * batch, dtype=dtype)


def weights_to_pixel_major(convolution: Convolution, dtype: DTypeName) -> Transpose:
    """Weights (kr, kc, ni of a group, no) into (kr, kc, no, ni of a group)."""
    taps = convolution.kr * convolution.kc
    return Transpose(matrices=taps, rows=convolution.group_ni, columns=convolution.no, dtype=dtype)


def weights_from_pixel_major(convolution: Convolution, dtype: DTypeName) -> Transpose:
    """And back."""
    taps = convolution.kr * convolution.kc
    return Transpose(matrices=taps, rows=convolution.no, columns=convolution.group_ni, dtype=dtype)
