"""A recurrent layer whose weights stay in the LDMs of the mesh over all steps ("persistent RNN", Diamos et al. 2016).

CPE (i, j) holds part (i, j) of each gate's weights and, of a block of samples, part (i, j) of each state: a step's mesh
GEMM leaves the product where the gates need it, and the new output where the next step's mesh GEMM needs it. Memory
sees only what comes with a step and what is kept of it, and that under the compute.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.batched import plane
from nnlib.kernels.double_buffer import DoubleBuffer
from nnlib.kernels.generations import Library
from nnlib.kernels.kernel import Arguments, InfeasiblePlan, check_fits
from nnlib.kernels.products.gemm_scheme import SCHEMES
from nnlib.kernels.sequences.grid import Grid
from nnlib.kernels.sequences.recurrent_cell import RecurrentCell
from nnlib.kernels.sequences.recurrent_gates import GATES, cell_arrays
from nnlib.kernels.sequences.recurrent_shape import RecurrentShape
from nnlib.precision import DTYPES
from sim.chip.ldm import aligned
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, transpose_cycles
from sim.chip.tile import Split, Tile
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer

MATRIX = Split(rows=0, columns=1)
SWAPPED = Split(rows=1, columns=0)
PLANES = Split(rows=0, columns=2)


@dataclass(frozen=True, kw_only=True)
class ResidentPlan:
    """Rows and columns of a CPE's part of a state; which arrays of the gates come and go, and which stay as states."""

    grid: Grid
    streamed: tuple[tuple[str, int], ...]
    put: tuple[tuple[str, int], ...]
    states: tuple[str, ...]


def plan_resident(*, layer: RecurrentShape, cell: RecurrentCell, processor: ProcessorSpec) -> ResidentPlan:
    """As few blocks of samples as fit beside the weights. Raises InfeasiblePlan if not even one row each does."""
    forward = cell.direction == "forward"
    inputs, outputs = cell.arrays
    states = {"hidden", "cell"} if forward else {"grad_hidden", "grad_cell"}
    kept = ["hidden"] if forward else []
    kept += [name for name in inputs if name in states and name not in kept]
    streamed = [(name, planes) for name, planes in inputs.items() if name not in states and name != "h_product"]
    put = [(name, planes) for name, planes in outputs.items() if name not in ("grad_before", "grad_cell_before")]
    mesh = (processor.mesh.rows, processor.mesh.columns)
    item, width = DTYPES[cell.dtype].itemsize, -(-layer.hidden // mesh[1])
    depth = -(-layer.hidden // mesh[0])
    gates = GATES[layer.cell]

    def needed(rows: int) -> int:
        part = rows * width * item
        sizes = [depth * width * item] * (gates + (0 if forward else 1))  # a weight gradient's staging tile
        sizes += [part] * (gates + len(kept))
        sizes += 2 * [planes * part for _, planes in (*streamed, *put)]
        sizes += 2 * [rows * item] if cell.masked else []
        sizes += [width * item] if cell.biased else []
        if cell.dtype == "fp32" and processor.mesh.remote is None:
            sizes += [8 * rows * width, 8 * depth * width]
        return sum(aligned(size) for size in sizes)

    check_fits(kernel=f"resident {cell.name}", needed=needed(1), processor=processor)
    most, blocks = -(-layer.batch // mesh[0]), 1
    while needed(-(-most // blocks)) > processor.cpe.ldm_bytes:
        blocks += 1
    grid = Grid(rows=layer.batch, columns=layer.hidden, part=(-(-most // blocks), width), mesh=mesh)
    return ResidentPlan(grid=grid, streamed=tuple(streamed), put=tuple(put), states=tuple(kept))


def suits_resident(layer: RecurrentShape, cell: RecurrentCell, processor: ProcessorSpec) -> bool:
    """True if it fits, and a CPE's row of a state is no put that memory reads first: such cost more than weights do."""
    try:
        plan = plan_resident(layer=layer, cell=cell, processor=processor)
    except InfeasiblePlan:
        return False
    return plan.grid.part[1] * DTYPES[cell.dtype].itemsize > processor.dma.partial_put_block_bytes


class ResidentProgram:
    """The tile program of either direction through time; ``of_product``: the gradient that goes through the weights."""

    def __init__(
        self,
        *,
        layer: RecurrentShape,
        cell: RecurrentCell,
        library: Library,
        core_group: CoreGroup,
        of_product: str = "",
    ) -> None:
        self.layer, self.cell, self.scheme, self.core_group = (
            layer,
            cell,
            SCHEMES[library].on(core_group.processor.mesh),
            core_group,
        )
        self.of_product, self.forward = of_product, cell.direction == "forward"
        self.adds = "grad_before" in cell.arrays[1]
        self.plan = plan_resident(layer=layer, cell=cell, processor=core_group.processor)
        self.rows, self.width = self.plan.grid.part
        self.depth = -(-layer.hidden // core_group.mesh[0])
        self.gates = GATES[layer.cell]

    def run(self, arguments: Arguments) -> None:
        """Load the weights, then go over all steps with one block of samples after the other."""
        group, dtype, part = self.core_group, DTYPES[self.cell.dtype], (self.rows, self.width)
        self.weights = self.load_weights(arguments)
        self.products = [group.alloc(f"product{g}", size=part, dtype=dtype, split=MATRIX) for g in range(self.gates)]
        self.states = {
            name: group.alloc(f"state {name}", size=part, dtype=dtype, split=MATRIX) for name in self.plan.states
        }
        self.ins = [self.buffers(name, (self.rows, n, self.width), PLANES) for name, n in self.plan.streamed]
        if self.cell.masked:
            self.ins.append(self.buffers("inside", (self.rows, 1), Split(rows=0)))
        self.outs = [self.buffers(name, (self.rows, n, self.width), PLANES) for name, n in self.plan.put]
        fixed = self.load_bias(arguments)
        converted = []
        if self.cell.dtype == "fp32" and self.scheme.fp32 != "direct":  # room for what the mesh GEMM converts
            fp64 = DTYPES["fp64"]
            converted = [
                group.alloc("a_fp64", size=part, dtype=fp64, split=MATRIX),
                group.alloc("b_fp64", size=(self.depth, self.width), dtype=fp64, split=MATRIX),
            ]
        blocks = self.plan.grid.rounds[0]
        whole = self.layer.batch // (self.rows * group.mesh[0])
        for block in group.loop("samples", blocks, steady=range(whole)):
            self.block(block, arguments, fixed)
        group.free(*self.weights, *self.products, *self.states.values(), *fixed.values(), *converted)
        for each in (*self.ins, *self.outs):
            each.free()

    def buffers(self, name: str, size: tuple[int, ...], split: Split) -> DoubleBuffer:
        """Of an array that comes or goes with each step."""
        return DoubleBuffer.of(self.core_group, name, size=size, dtype=DTYPES[self.cell.dtype], split=split)

    def load_weights(self, arguments: Arguments) -> list[Tile]:
        """Each gate's weights, transposed for the gradient.

        What lies past a gate's last column belongs to the next one; it stays in columns that are never put and that
        only rows of zeros are multiplied with.
        """
        group, dtype, size = self.core_group, DTYPES[self.cell.dtype], (self.depth, self.width)
        if self.forward:
            tiles = [group.alloc(f"weight{g}", size=size, dtype=dtype, split=MATRIX) for g in range(self.gates)]
            gets = [group.get(tile, arguments["weight"], (0, g * self.layer.hidden)) for g, tile in enumerate(tiles)]
            group.wait(*gets)
            return tiles
        tiles = [
            group.alloc(f"weight{g}", size=(self.width, self.depth), dtype=dtype, split=MATRIX)
            for g in range(self.gates)
        ]
        stored = group.alloc("stored", size=(self.depth, self.width), dtype=dtype, split=SWAPPED)
        for g, tile in enumerate(tiles):
            group.wait(group.get(stored, arguments["weight"], (0, g * self.layer.hidden)))

            def turn(tile: Tile = tile) -> None:
                tile.values()[...] = stored.values().T

            cycles = transpose_cycles(cpe=group.cpe, elements=prod(size))
            group.compute("transpose weights", cycles=cycles, reads=[stored], writes=[tile], run=turn)
        group.free(stored)
        return tiles

    def load_bias(self, arguments: Arguments) -> dict[str, Tile]:
        """What is the same in all steps."""
        if not self.cell.biased:
            return {}
        group = self.core_group
        bias = group.alloc("bias", size=(1, self.width), dtype=DTYPES[self.cell.dtype], split=Split(columns=1))
        group.wait(group.get(bias, arguments["candidate_bias"], (0, 0)))
        return {"candidate_bias": bias}

    def place(
        self, name: str, number: int, arguments: Arguments, row: int, tile: Tile
    ) -> tuple[MemoryArray, tuple[int, ...]]:
        """Where a cell's array of the step that comes as ``number`` lies, and the block of samples in it."""
        step = self.layer.step(number if self.forward else self.layer.steps - 1 - number)
        mine, at = self.layer.place(name, step)
        array = arguments[mine] if at is None else plane(arguments[mine], at)
        if len(tile.size) == 3:
            array = array.reshape(self.layer.batch, tile.size[1], self.layer.hidden)
        return array, (row, *(0,) * (len(tile.size) - 1))

    def get(self, number: int, arguments: Arguments, row: int) -> list[Transfer]:
        """Start getting what comes with a step."""
        return [each.get(number, *self.place(each.name, number, arguments, row, each.tiles[0])) for each in self.ins]

    def block(self, block: int, arguments: Arguments, fixed: dict[str, Tile]) -> None:
        """All steps of a block of samples."""
        group, steps = self.core_group, self.layer.steps
        row = block * self.rows * group.mesh[0]
        first = [group.get(tile, *self.place(name, 0, arguments, row, tile)) for name, tile in self.states.items()]
        under_way = self.get(0, arguments, row)
        group.wait(*first)
        puts: deque[list[Transfer]] = deque()
        for number in group.loop(self.cell.name, steps, steady=range(2, steps - 1)):
            following = self.get(number + 1, arguments, row) if number + 1 < steps else []
            group.wait(*under_way)
            under_way = following
            if len(puts) == 2:
                group.wait(*puts.popleft())
            if self.forward:
                for product, weight in zip(self.products, self.weights, strict=True):
                    self.multiply(product, self.states["hidden"], weight, block, accumulate=False)
            self.open_gates(number, block, fixed)
            if not self.forward:
                for g, (product, weight) in enumerate(zip(self.products, self.weights, strict=True)):
                    adds = g > 0 or self.adds
                    self.multiply(self.states["grad_hidden"], product, weight, block, accumulate=adds)
            puts.append(
                [each.put(number, *self.place(each.name, number, arguments, row, each.tiles[0])) for each in self.outs]
            )
        for remaining in puts:
            group.wait(*remaining)
        if not self.forward:
            last = [
                group.put(tile, *self.place(name, steps - 1, arguments, row, tile))
                for name, tile in self.states.items()
            ]
            group.wait(*last)

    def samples(self, block: int) -> int:
        """Of a block."""
        most = self.rows * self.core_group.mesh[0]
        return min(most, self.layer.batch - block * most)

    def multiply(self, c: Tile, a: Tile, b: Tile, block: int, *, accumulate: bool) -> None:
        """A gate's product over the mesh."""
        self.core_group.mesh_gemm(
            "product",
            c=c,
            a=a,
            b=b,
            flops=2 * self.samples(block) * self.layer.hidden**2,
            accumulate=accumulate,
            schedule=self.scheme.schedule,
            k_step_residual=self.scheme.k_step_residual(self.core_group.timed),
        )

    def open_gates(self, number: int, block: int, fixed: dict[str, Tile]) -> None:
        """The element-wise part of a step: what goes to memory, and the states as the next step finds them."""
        group = self.core_group
        ins = {each.name: each.tile(number) for each in self.ins}
        outs = {each.name: each.tile(number) for each in self.outs}
        reads = [*ins.values(), *self.states.values(), *fixed.values(), *(self.products if self.forward else ())]
        writes = [*outs.values(), *self.states.values(), *(() if self.forward else self.products)]

        def run() -> None:
            sources = {name: _flat(tile) for name, tile in {**ins, **self.states, **fixed}.items()}
            targets = {name: _flat(tile) for name, tile in outs.items()}
            if self.forward:
                sources["h_product"] = np.concatenate([tile.values() for tile in self.products], axis=1)
                self.cell.compute(sources, targets)
                for state in self.states:
                    self.states[state].values()[...] = targets[f"new_{state}"]
                return
            carried = {"grad_before": "grad_hidden", "grad_cell_before": "grad_cell"}
            new = {
                name: np.empty_like(sources[state]) for name, state in carried.items() if name in self.cell.arrays[1]
            }
            self.cell.compute(sources, {**targets, **new})
            for name, values in new.items():
                self.states[carried[name]].values()[...] = values
            gradient = np.split(targets[self.of_product], self.gates, axis=1)
            for product, values in zip(self.products, gradient, strict=True):
                product.values()[...] = values

        body = self.cell.body
        more = len(self.states) if self.forward else self.gates  # states and operands are stored besides
        wider = Body(body.loads, body.stores + more, body.arithmetic, body.divides, body.exponentials)
        group.compute(
            "gates",
            cycles=partial(self.plan.grid.cycles(wider, group.cpe), block),
            reads=reads,
            writes=writes,
            flops=cell_arrays(self.layer.cell, self.cell.direction).flops * self.samples(block) * self.layer.hidden,
            run=run,
        )


def _flat(tile: Tile) -> Array:
    """A tile's numbers as (rows, planes·width)."""
    values = tile.values()
    return values.reshape(len(values), -1)
