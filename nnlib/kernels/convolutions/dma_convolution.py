"""Convolution by DMA without sharing among the CPEs: each brings what it needs by itself, as a first port does.

Parts of the operands come by DMA into the LDM, anew for every product, and are multiplied by a loop without register
blocking. No register communication: 64 CPEs bring 64 copies of what they have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.tap_cycles import form_of, product_cycles
from nnlib.kernels.convolutions.tap_product import PartSize, Step, TapProduct, Work
from nnlib.kernels.kernel import Arguments, InfeasiblePlan, Parameter
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.pipeline.unblocked import unblocked_cycles
from sim.chip.tile import Tile
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer


@dataclass(frozen=True, kw_only=True)
class DmaConvolution:
    """The ``dma`` plan: parts of operands by DMA, multiplied by an unblocked loop.

    ``vectorised``: four outputs (or products of a sum) an instruction. ``overlapped``: two buffers of each operand,
    the next ones under way while the last are multiplied.
    """

    convolution: Convolution
    which: Pass
    dtype: DTypeName
    vectorised: bool = True
    overlapped: bool = False

    @property
    def name(self) -> str:
        return f"conv2d_{self.which}_dma"

    def parameters(self) -> tuple[Parameter, ...]:
        return self._product(PartSize(1, 1, 1)).parameters()

    def reference(self, arrays: Mapping[str, Array]) -> None:
        self._product(PartSize(1, 1, 1)).reference(arrays)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        product = self._product(self.plan(core_group.processor))
        _DmaProgram(self, product, core_group, arguments).run()

    def plan(self, processor: ProcessorSpec) -> PartSize:
        """The parts with the least estimated time. Raises InfeasiblePlan if not even vectors fit."""
        lanes, available = processor.cpe.vector_lanes, processor.cpe.ldm_bytes
        fitting = [part for part in self._parts(lanes) if self._bytes(part) <= available]
        if not fitting:
            needed = self._bytes(self._limited(lanes, lanes, lanes, lanes))
            raise InfeasiblePlan(kernel=self.name, needed=needed, available=available)
        return min(fitting, key=lambda part: self._estimate(part, processor))

    def _parts(self, lanes: int) -> list[PartSize]:
        """Parts of powers of two of vectors, the largest last; none longer than what there is."""
        sizes = [[lanes] for _ in range(3)]
        for axis, whole in zip(sizes, self._product(PartSize(1, 1, 1)).extent, strict=True):
            while axis[-1] < whole:
                axis.append(2 * axis[-1])
        return [self._limited(m, n, k, lanes) for m in sizes[0] for n in sizes[1] for k in sizes[2]]

    def _limited(self, m: int, n: int, k: int, lanes: int) -> PartSize:
        """No more than there is, in whole vectors: a vector load needs an aligned row."""
        whole = self._product(PartSize(1, 1, 1)).extent
        m, n, k = (min(size, -(-most // lanes) * lanes) for size, most in zip((m, n, k), whole, strict=True))
        return PartSize(m, n, k)

    def _bytes(self, part: PartSize) -> int:
        item = DTYPES[self.dtype].itemsize
        operands = aligned(item * part.m * part.k) + aligned(item * part.k * part.n)
        return (2 if self.overlapped else 1) * operands + aligned(item * part.m * part.n)

    def _estimate(self, part: PartSize, processor: ProcessorSpec) -> float:
        """Cycles if every row of an operand begins anywhere in a line, with DMA under the products or before them."""
        item, dma, cpes = DTYPES[self.dtype].itemsize, processor.dma, processor.cpes_per_core_group
        product = self._product(part)
        sizes = product.tile_sizes[:2]
        lines = sum(prod(size[:-1]) * (1 + size[-1] * item / dma.line_bytes) for size in sizes)
        transfer = cpes * lines * dma.line_seconds * processor.clock_hertz
        multiply = unblocked_cycles(
            cpe=processor.cpe,
            form=form_of(self.which),
            vectorised=self.vectorised,
            m=part.m,
            n=part.n,
            k=part.k,
        )
        step = max(transfer, multiply) if self.overlapped else transfer + multiply
        return product.steps_per_cpe(cpes) * step

    def _product(self, part: PartSize) -> TapProduct:
        return TapProduct(convolution=self.convolution, which=self.which, part=part)


@dataclass(frozen=True, eq=False)
class _Fetched:
    """A step whose operands are on their way into buffers number ``buffer``."""

    step: Step
    buffer: int
    transfers: tuple[Transfer, Transfer]


class _DmaProgram:
    """State of the tile program of the ``dma`` plan."""

    def __init__(
        self, kernel: DmaConvolution, product: TapProduct, core_group: CoreGroup, arguments: Arguments
    ) -> None:
        self.kernel, self.product, self.core_group = kernel, product, core_group
        self.arrays = product.operands(arguments)
        dtype = DTYPES[kernel.dtype]
        a, b, c = product.tile_sizes
        numbers = range(2 if kernel.overlapped else 1)
        self.a = [core_group.alloc(f"a{number}", size=a, dtype=dtype) for number in numbers]
        self.b = [core_group.alloc(f"b{number}", size=b, dtype=dtype) for number in numbers]
        self.c = core_group.alloc("c", size=c, dtype=dtype)
        self.put: Transfer | None = None
        self.flops = kernel.convolution.flops

    def run(self) -> None:
        before: _Fetched | None = None
        buffer = 0
        for step in self.product.steps(self.core_group):
            fetched = self.fetch(step, buffer)
            buffer = (buffer + 1) % len(self.a)
            if not self.kernel.overlapped:
                self.multiply(fetched)
                continue
            if before is not None:
                self.multiply(before)
            before = fetched
            if step.row_ends:
                self.multiply(fetched)
                before = None
        self.core_group.free(*self.a, *self.b, self.c)

    def fetch(self, step: Step, buffer: int) -> _Fetched:
        group, (a, b, _) = self.core_group, self.arrays
        transfers = group.get(self.a[buffer], a, step.a), group.get(self.b[buffer], b, step.b)
        return _Fetched(step, buffer, transfers)

    def multiply(self, fetched: _Fetched) -> None:
        """Wait for the operands, multiply, and put the outputs that are complete."""
        group, step = self.core_group, fetched.step
        a, b, c = self.a[fetched.buffer], self.b[fetched.buffer], self.c
        group.wait(*fetched.transfers)
        if step.first:
            self.clear(step.work)

        def run() -> None:
            c.values().reshape(group.cpes, self.product.part.m, self.product.part.n)[...] += self.product.product(
                a.values(), b.values()
            )

        kernel = self.kernel
        group.compute(
            "multiply",
            cycles=lambda: product_cycles(group.timed, step, which=kernel.which, vectorised=kernel.vectorised),
            reads=(a, b, c),
            writes=(c,),
            vectors=self.vector_tiles(fetched.buffer),
            flops=self.flops,
            run=run,
        )
        self.flops = 0
        if step.last:
            self.put = group.put(c, self.arrays[2], self.product.output(step.work))
        if step.row_ends:
            self.finish_put()
            group.sync("row of pixels")

    def finish_put(self) -> None:
        """Wait until the last outputs are in memory."""
        if self.put is not None:
            self.core_group.wait(self.put)
            self.put = None

    def vector_tiles(self, buffer: int) -> tuple[Tile, ...]:
        """The buffers of which vectors are loaded; a copied scalar may lie anywhere."""
        if not self.kernel.vectorised:
            return ()
        return (self.a[buffer], self.b[buffer]) if form_of(self.kernel.which) == "dot" else (self.b[buffer], self.c)

    def clear(self, work: Work) -> None:
        """Zero the outputs, once the last ones are in memory."""
        self.finish_put()
        cpe, part = self.core_group.cpe, self.product.part
        cycles = stream_cycles(cpe=cpe, body=Body(stores=1), elements=part.m * part.n)

        def run() -> None:
            self.c.values()[...] = 0.0

        self.core_group.compute(
            "clear", cycles=[cycles * each for each in work.active.tolist()], writes=(self.c,), run=run
        )
