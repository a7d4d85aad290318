"""The tile program of attention: a block of queries stays, keys and values pass by (Dao et al. 2022, algorithm 1).

Scores are a mesh product; each CPE has the maximum and the sum of its part of a row, the CPEs of a mesh row agree on
the running maximum, and what was summed so far is scaled to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.attention.attention_frame import AttentionFrame, Step
from nnlib.kernels.attention.attention_plan import (
    MATRIX,
    ROWS,
    SAME,
    SWAPPED,
    AttentionPlan,
    Blocks,
    Buffer,
    Layout,
    Product,
)
from nnlib.kernels.attention.attention_shape import AttentionShape
from nnlib.kernels.generations import Library
from nnlib.kernels.kernel import Arguments
from nnlib.kernels.pointwise.dropout import HYPER
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body
from sim.chip.tile import Tile
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


def forward_blocks(*, shape: AttentionShape, library: Library, kernel: str, processor: ProcessorSpec) -> Blocks:
    """What the planner needs."""
    side = processor.mesh.columns
    depth, value_depth = -(-shape.depth // side), -(-shape.value_depth // side)

    def layout(plan: AttentionPlan) -> Layout:
        rows, columns = plan.rows, plan.columns
        pass_by = [
            Buffer(name="key", size=(columns, depth), split=SWAPPED, copies=2, turned=True),
            Buffer(name="value", size=(columns, value_depth), split=MATRIX, copies=2),
        ]
        pass_by += mask_buffers(shape, (rows, columns), transposed=False)
        work = [
            Buffer(name="scores", size=(rows, columns), split=MATRIX),
            Buffer(name="top", size=(rows,), split=ROWS),
            Buffer(name="factor", size=(rows,), split=ROWS),
            Buffer(name="sums", size=(rows, 1), split=MATRIX),
            Buffer(name="out", size=(rows, value_depth), split=MATRIX),
            Buffer(name="logs", size=(rows,), split=None),
        ]
        work += sample_buffers(shape)
        return Layout(
            stay=(Buffer(name="query", size=(rows, depth), split=MATRIX, copies=2),),
            pass_by=tuple(pass_by),
            work=tuple(work),
            products=(Product(m=rows, n=columns, k=depth), Product(m=rows, n=value_depth, k=columns)),
            scores=Body(loads=2, stores=1, arithmetic=3, exponentials=1),
            score_elements=rows * columns,
        )

    return Blocks(
        kernel=kernel, rows=shape.queries, columns=shape.keys, dtype=shape.dtype, library=library, layout=layout
    )


def sample_buffers(shape: AttentionShape) -> list[Buffer]:
    """Buffers of the masks that are not blocks of numbers: lengths and what decides on dropout."""
    found = [Buffer(name="lengths", size=(1,), split=SAME, copies=2)] if shape.padded else []
    return found if shape.dropped is None else [*found, Buffer(name="hyper", size=(HYPER,), split=SAME)]


def mask_buffers(shape: AttentionShape, size: tuple[int, int], *, transposed: bool) -> list[Buffer]:
    """The buffer of the mask's blocks, queries by keys."""
    if shape.mask is None:
        return []
    return [Buffer(name="mask", size=size, split=SWAPPED if transposed else MATRIX, copies=2, turned=transposed)]


class AttentionForward:
    """One run."""

    def __init__(self, *, shape: AttentionShape, blocks: Blocks, core_group: CoreGroup, arguments: Arguments) -> None:
        self.shape = shape
        self.frame = AttentionFrame(
            shape=shape, blocks=blocks, core_group=core_group, arguments=arguments, transposed=False
        )
        self.tiles, self.streams, self.arguments = self.frame.tiles, self.frame.streams, self.frame.arguments
        self.rows, self.columns = self.frame.plan.rows, self.frame.plan.columns

    def run(self) -> None:
        """All samples and heads."""
        self.frame.run(self.fetch, self.compute)

    def fetch(self, step: Step, rows: bool, columns: bool) -> None:
        """Start the transfers of what is new in a step."""
        row, column = self.frame.places(step)
        if rows:
            self.streams["query"].fetch(step.head.rows(self.arguments["query"]), (row, 0))
        if columns:
            for name in ("key", "value"):
                self.streams[name].fetch(step.head.rows(self.arguments[name]), (column, 0))
        if self.shape.mask is not None:
            self.streams["mask"].fetch(step.head.plane(self.arguments["mask"]), (row, column))

    def compute(self, step: Step) -> None:
        """One block of scores, and what is done with its rows at their begin and end."""
        frame = self.frame
        query = self.streams["query"].tile()
        if step.first:
            scale_in_place(frame, query, self.shape.scale)
        key = self.streams["key"].tile()
        frame.product("scores", c="scores", a=query, b=key, depth=self.shape.depth, step=step, accumulate=False)
        self.maxima(step)
        self.exponentials(step)
        value = self.streams["value"].tile()
        if step.first:
            frame.wait_put("out")
        else:
            self.rescale()
        scores, depth = self.tiles["scores"], self.shape.value_depth
        frame.product("values", c="out", a=scores, b=value, depth=depth, step=step, accumulate=not step.first)
        if step.last:
            self.finish(step)

    def maxima(self, step: Step) -> None:
        """Mask the scores; the running maximum of each row, and what this scales earlier sums by."""
        frame = self.frame
        scores, top, factor = (self.tiles[name] for name in ("scores", "top", "factor"))
        reads, loads, stores, arithmetic = [scores], 1, 0, 1
        masked = mask_scores(frame, step)
        if masked is not None:
            reads += masked.reads
            loads, stores, arithmetic = 1 + masked.loads, 1, 1 + masked.arithmetic

        def partly() -> None:
            if masked is not None:
                masked.run(scores.values())

        label, elements = "row maxima", self.rows * self.columns
        body = Body(loads=loads, stores=stores, arithmetic=arithmetic)
        frame.compute(label, body, elements=elements, reads=reads, writes=[scores] if masked else [], run=partly)
        frame.exchange_rows("maxima along rows", elements=self.rows, reads=[scores])

        def agree() -> None:
            found = scores.values().max(axis=1)
            new = found if step.first else np.maximum(top.values(), found)
            if not step.first:
                factor.values()[...] = np.exp(top.values() - _finite(new))
            top.values()[...] = new

        body = Body(loads=2, stores=2, arithmetic=2, exponentials=0 if step.first else 1)
        before = [scores] if step.first else [scores, top]
        after = [top] if step.first else [top, factor]
        frame.compute("running maxima", body, elements=self.rows, reads=before, writes=after, run=agree)

    def exponentials(self, step: Step) -> None:
        """``exp(score - maximum)`` and each CPE's part of their sums; dropout afterwards."""
        frame = self.frame
        scores, top, factor, sums = (self.tiles[name] for name in ("scores", "top", "factor", "sums"))
        reads = [scores, top] if step.first else [scores, top, factor, sums]
        drops = self.shape.dropped is not None
        if drops:
            reads.append(self.tiles["hyper"])

        def run() -> None:
            numbers = scores.values()
            numbers -= _finite(top.values())[:, None]
            np.exp(numbers, out=numbers)
            mesh_columns = frame.group.mesh[1]
            found = numbers.reshape(len(numbers), mesh_columns, -1).sum(axis=2)
            sums.values()[...] = found if step.first else sums.values() * factor.values()[:, None] + found
            if drops:
                numbers *= frame.kept(step, numbers.dtype)

        body = Body(loads=1, stores=1, arithmetic=2 + frame.dropout_arithmetic, exponentials=1)
        frame.compute(
            "exponentials", body, elements=self.rows * self.columns, reads=reads, writes=[scores, sums], run=run
        )

    def rescale(self) -> None:
        """What earlier keys gave, to the new maximum."""
        out, factor = self.tiles["out"], self.tiles["factor"]

        def run() -> None:
            out.values()[...] *= factor.values()[:, None]

        body = Body(loads=1, stores=1, arithmetic=1)
        elements = out.size[0] * out.size[1]
        self.frame.compute("rescale", body, elements=elements, reads=[out, factor], writes=[out], run=run)

    def finish(self, step: Step) -> None:
        """Divide by the sums; put the output and the log-sum-exp."""
        frame = self.frame
        sums, out, top, logs = (self.tiles[name] for name in ("sums", "out", "top", "logs"))
        frame.exchange_rows("sums along rows", elements=self.rows, reads=[sums])
        frame.wait_put("logs")

        def run() -> None:
            total = sums.values().sum(axis=1)
            out.values()[...] /= np.where(total == 0, 1, total)[:, None]
            with np.errstate(divide="ignore"):
                found = top.values() + np.log(total)
            rows, columns = frame.group.mesh
            logs.values()[...] = np.repeat(found.reshape(rows, -1), columns, axis=0)

        elements = self.rows * (1 + out.size[1])
        frame.compute(
            "divide by sums",
            Body(loads=1, stores=1, arithmetic=1),
            elements=elements,
            reads=[sums, out, top],
            writes=[out, logs],
            run=run,
        )
        # one reciprocal and one logarithm a row
        frame.compute(
            "logarithms", Body(divides=1, exponentials=1), elements=self.rows, reads=[logs], writes=[], run=_nothing
        )
        row, _ = frame.places(step)
        frame.put("out", step.head.rows(self.arguments["out"]), (row, 0))
        frame.put_rows("logs", step.head.plane(self.arguments["logs"]), row)


class Masked:
    """How a block of scores is masked: tiles and instructions of each vector besides the scores', and the numbers."""

    def __init__(self, frame: AttentionFrame, step: Step, mask: Tile | None, hides: bool) -> None:
        self.frame, self.step, self.mask, self.hides = frame, step, mask, hides

    @property
    def reads(self) -> list[Tile]:
        found = [] if self.mask is None else [self.mask]
        if self.hides and self.frame.shape.padded:
            stream = self.frame.streams["lengths"]
            found.append(stream.tiles[stream.now])
        return found

    @property
    def loads(self) -> int:
        return 0 if self.mask is None else 1

    @property
    def arithmetic(self) -> int:
        """An addition of the mask; a comparison and a choice for what is hidden."""
        return (self.mask is not None) + 2 * self.hides

    def run(self, scores: Array) -> None:
        """Mask the scores of a block, rows by columns."""
        if self.mask is not None:
            scores += self.mask.values()
        if self.hides:
            queries, keys = self.frame.queries_and_keys(self.step)
            view = scores.T if self.frame.transposed else scores
            self.frame.hidden.hide(view, queries=queries, keys=keys, length=self.frame.length())


def mask_scores(frame: AttentionFrame, step: Step) -> Masked | None:
    """How this block is masked; None if it is not."""
    queries, keys = frame.queries_and_keys(step)
    hides = frame.hidden.concerns(queries=queries, keys=keys)
    if hides and frame.shape.padded:
        frame.streams["lengths"].arrive()
    mask = frame.streams["mask"].tile() if frame.shape.mask is not None else None
    return Masked(frame, step, mask, hides) if hides or mask is not None else None


def scale_in_place(frame: AttentionFrame, tile: Tile, factor: float) -> None:
    """Multiply what is in a tile."""

    def run() -> None:
        tile.values()[...] *= factor

    elements = tile.size[0] * tile.size[1]
    body = Body(loads=1, stores=1, arithmetic=1)
    frame.compute(f"scale {tile.name}", body, elements=elements, reads=[tile], writes=[tile], run=run)


def _finite(top: Array) -> Array:
    """With 0 instead of the -inf of a row that sees no key."""
    return np.where(np.isneginf(top), 0, top).astype(top.dtype, copy=False)


def _nothing() -> None:
    """Numbers that the instructions before have made already."""
