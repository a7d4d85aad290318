"""What kernels over (rows, channels) share: vectors that every CPE keeps, and sums of all CPEs' rows over the mesh.

Each CPE adds its own rows in its LDM. Then the CPEs of a mesh column share out the channels among themselves, each
adding all eight parts of its own, and so do those of a mesh row: at the end every CPE has the totals of a few channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, check_fits
from sim.chip.ldm import VECTOR_ALIGNMENT
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split, Tile
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

Combine = Callable[[Array], Sequence[Array]]
"""From all CPEs' partial results (CPEs, planes, channels) to the final vectors (channels,)."""


def channel_blocks(channels: int, *, vectors: int, item: int, kernel: str, processor: ProcessorSpec) -> list[range]:
    """As few blocks of channels as make ``vectors`` vectors of a block fit the LDM, elements of ``item`` bytes.

    Blocks but the last divide into equal shares of whole memory lines. Raises InfeasiblePlan if one channel does not
    fit.
    """
    line = processor.dma.line_bytes // item
    rounded = vectors * VECTOR_ALIGNMENT + 8 * processor.dma.line_bytes  # and the few that a CPE has of the totals
    most = (processor.cpe.ldm_bytes - rounded) // (vectors * item + 8 * item // processor.cpes_per_core_group)
    check_fits(kernel=kernel, needed=rounded + vectors * item, processor=processor)
    if most < channels:
        for multiple in (line * processor.cpes_per_core_group, line):
            if most >= multiple:
                most -= most % multiple
                break
    return [range(first, min(first + most, channels)) for first in range(0, channels, max(most, 1))]


def keep_vectors(core_group: CoreGroup, arguments: Arguments, names: Sequence[str], columns: range) -> dict[str, Tile]:
    """Channels ``columns`` of the vectors in every CPE's LDM, read once and broadcast."""
    tiles = {}
    transfers = []
    for name in names:
        array = arguments[name]
        tiles[name] = core_group.alloc(name, size=(len(columns),), dtype=array.dtype, split=Split())
        transfers.append(core_group.get(tiles[name], array, (columns.start,), mode="BCAST"))
    core_group.wait(*transfers)
    return tiles


def put_totals(
    core_group: CoreGroup,
    partial: Tile,
    arrays: Sequence[MemoryArray],
    *,
    columns: range,
    arithmetic: int,
    combine: Combine,
) -> None:
    """Combine the CPEs' partial results (1, planes, channels) over the mesh into one vector for each of ``arrays``.

    ``arithmetic``: instructions to combine two vectors of all planes.
    """
    cpe, cpes = core_group.cpe, core_group.cpes
    _, planes, width = partial.size
    line = core_group.processor.dma.line_bytes // partial.dtype.itemsize
    share = min(width, max(line, -(-width // cpes)))
    for label, ways, length in _steps(core_group, width):
        others = (ways - 1) * length
        sent = stream_cycles(cpe=cpe, body=Body(loads=1, stores=1), elements=planes * others)
        added = Body(loads=2 * planes, stores=planes, arithmetic=arithmetic)
        if label == "columns":
            core_group.column_broadcast("share out along columns")
        else:
            core_group.row_broadcast("share out along rows")
        cycles = sent + stream_cycles(cpe=cpe, body=added, elements=others)
        core_group.compute(f"add along {label}", cycles=cycles, reads=[partial], writes=[partial])
    totals = [core_group.alloc(f"total {array.name}", size=(share,), dtype=array.dtype) for array in arrays]

    def finish() -> None:
        for tile, found in zip(totals, combine(partial.values()), strict=True):
            shares = tile.values()
            shares[...] = 0
            shares.reshape(-1)[:width] = found

    body = Body(loads=planes, stores=len(totals), arithmetic=2 * planes)
    cycles = stream_cycles(cpe=cpe, body=body, elements=share)
    core_group.compute("totals", cycles=cycles, reads=[partial], writes=totals, run=finish)
    # CPEs behind the last share have their places outside the array
    places = columns.start + share * np.arange(cpes)
    for tile, array in zip(totals, arrays, strict=True):
        core_group.wait(core_group.put(tile, array, np.where(places < columns.stop, places, array.shape[0])[:, None]))
    core_group.free(*totals)


def _steps(core_group: CoreGroup, width: int) -> list[tuple[str, int, int]]:
    """Along what the CPEs share out, among how many, and how many channels each has then."""
    rows, columns = core_group.mesh
    of_column = -(-width // rows)
    return [("columns", rows, of_column), ("rows", columns, -(-of_column // columns))]
