"""The tile program of attention's gradient by queries: a block of queries stays, keys and values pass by.

``dq = scale · (p ∘ (grad·valueᵀ - delta)) · key``, with the probabilities p made again from scores and log-sum-exp
(Dao et al. 2022, algorithm 4, here with one kernel for queries and one for keys: neither adds to what lies in memory).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.attention.attention_forward import mask_buffers, mask_scores, sample_buffers, scale_in_place
from nnlib.kernels.attention.attention_frame import AttentionFrame, Step
from nnlib.kernels.attention.attention_plan import MATRIX, ROWS, SWAPPED, AttentionPlan, Blocks, Buffer, Layout, Product
from nnlib.kernels.attention.attention_shape import AttentionShape
from nnlib.kernels.generations import Library
from nnlib.kernels.kernel import Arguments
from sim.chip.pipeline.streaming import Body
from sim.chip.tile import Tile
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


def query_gradient_blocks(*, shape: AttentionShape, library: Library, kernel: str, processor: ProcessorSpec) -> Blocks:
    """What the planner needs."""
    side = processor.mesh.columns
    depth, value_depth = -(-shape.depth // side), -(-shape.value_depth // side)

    def layout(plan: AttentionPlan) -> Layout:
        rows, columns = plan.rows, plan.columns
        stay = (
            Buffer(name="query", size=(rows, depth), split=MATRIX, copies=2),
            Buffer(name="grad_out", size=(rows, value_depth), split=MATRIX, copies=2),
            Buffer(name="out", size=(rows, value_depth), split=MATRIX, copies=2),
            Buffer(name="logs", size=(rows,), split=ROWS, copies=2),
        )
        pass_by = [
            Buffer(name="key", size=(columns, depth), split=SWAPPED, copies=2, turned=True),
            Buffer(name="value", size=(columns, value_depth), split=SWAPPED, copies=2, turned=True),
            Buffer(name="key rows", size=(columns, depth), split=MATRIX, copies=2),
        ]
        pass_by += mask_buffers(shape, (rows, columns), transposed=False)
        work = [
            Buffer(name="scores", size=(rows, columns), split=MATRIX),
            Buffer(name="grad_scores", size=(rows, columns), split=MATRIX),
            Buffer(name="partial", size=(rows, 1), split=MATRIX),
            Buffer(name="delta", size=(rows,), split=ROWS),
            Buffer(name="delta out", size=(rows,), split=None),
            Buffer(name="grad_query", size=(rows, depth), split=MATRIX),
        ]
        work += sample_buffers(shape)
        return Layout(
            stay=stay,
            pass_by=tuple(pass_by),
            work=tuple(work),
            products=(
                Product(m=rows, n=columns, k=depth),
                Product(m=rows, n=columns, k=value_depth),
                Product(m=rows, n=depth, k=columns),
            ),
            scores=Body(loads=3, stores=2, arithmetic=3, exponentials=1),
            score_elements=rows * columns,
        )

    return Blocks(
        kernel=kernel, rows=shape.queries, columns=shape.keys, dtype=shape.dtype, library=library, layout=layout
    )


class QueryGradient:
    """One run. ``mask_gradient``: the gradient by the scores is put, too."""

    def __init__(
        self,
        *,
        shape: AttentionShape,
        blocks: Blocks,
        core_group: CoreGroup,
        arguments: Arguments,
        mask_gradient: bool,
    ) -> None:
        self.shape, self.mask_gradient = shape, mask_gradient
        self.frame = AttentionFrame(
            shape=shape,
            blocks=blocks,
            core_group=core_group,
            arguments=arguments,
            transposed=False,
            skips=not mask_gradient,
        )
        self.tiles, self.streams, self.arguments = self.frame.tiles, self.frame.streams, self.frame.arguments
        self.rows, self.columns = self.frame.plan.rows, self.frame.plan.columns

    def run(self) -> None:
        """All samples and heads."""
        self.frame.run(self.fetch, self.compute)

    def fetch(self, step: Step, rows: bool, columns: bool) -> None:
        """Start the transfers of what is new in a step."""
        row, column = self.frame.places(step)
        arguments, head = self.arguments, step.head
        if rows:
            for name in ("query", "grad_out", "out"):
                self.streams[name].fetch(head.rows(arguments[name]), (row, 0))
            self.streams["logs"].fetch(head.plane(arguments["logs"]), (row,))
        if columns:
            for name in ("key", "value"):
                self.streams[name].fetch(head.rows(arguments[name]), (column, 0))
            self.streams["key rows"].fetch(head.rows(arguments["key"]), (column, 0))
        if self.shape.mask is not None:
            self.streams["mask"].fetch(head.plane(arguments["mask"]), (row, column))

    def compute(self, step: Step) -> None:
        """One block of scores, and what is done with its rows at their begin and end."""
        frame, shape = self.frame, self.shape
        query, grad_out = self.streams["query"].tile(), self.streams["grad_out"].tile()
        if step.first:
            scale_in_place(frame, query, shape.scale)
            self.dots(step, grad_out)
        frame.product(
            "scores", c="scores", a=query, b=self.streams["key"].tile(), depth=shape.depth, step=step, accumulate=False
        )
        frame.wait_put("grad_scores")
        frame.product(
            "grad probabilities",
            c="grad_scores",
            a=grad_out,
            b=self.streams["value"].tile(),
            depth=shape.value_depth,
            step=step,
            accumulate=False,
        )
        probabilities(frame, step, logs=self.streams["logs"].tile())
        score_gradient(frame, step, delta=self.tiles["delta"], drops_probabilities=False)
        if step.first:
            frame.wait_put("grad_query")
        frame.product(
            "grad queries",
            c="grad_query",
            a=self.tiles["grad_scores"],
            b=self.streams["key rows"].tile(),
            depth=shape.depth,
            step=step,
            accumulate=not step.first,
        )
        row, column = frame.places(step)
        if self.mask_gradient:
            frame.put("grad_scores", step.head.plane(self.arguments["grad_mask"]), (row, column))
        if step.last:
            scale_in_place(frame, self.tiles["grad_query"], shape.scale)
            frame.put("grad_query", step.head.rows(self.arguments["grad_query"]), (row, 0))

    def dots(self, step: Step, grad_out: Tile) -> None:
        """``delta``, each row's ``grad_out · out``: every CPE its part, then along the mesh rows."""
        frame = self.frame
        out = self.streams["out"].tile()
        partial, delta, leaving = (self.tiles[name] for name in ("partial", "delta", "delta out"))

        def parts() -> None:
            product = grad_out.values() * out.values()
            partial.values()[...] = product.reshape(len(product), frame.group.mesh[1], -1).sum(axis=2)

        body = Body(loads=2, arithmetic=1)
        elements = out.size[0] * out.size[1]
        frame.compute("row dots", body, elements=elements, reads=[grad_out, out], writes=[partial], run=parts)
        frame.exchange_rows("dots along rows", elements=self.rows, reads=[partial])
        frame.wait_put("delta out")

        def run() -> None:
            delta.values()[...] = partial.values().sum(axis=1)
            rows, columns = frame.group.mesh
            leaving.values()[...] = np.repeat(delta.values().reshape(rows, -1), columns, axis=0)

        body = Body(loads=1, stores=2)
        frame.compute("dots", body, elements=self.rows, reads=[partial], writes=[delta, leaving], run=run)
        frame.put_rows("delta out", step.head.plane(self.arguments["delta"]), frame.places(step)[0])


def probabilities(frame: AttentionFrame, step: Step, *, logs: Tile) -> None:
    """``exp(score - log-sum-exp)`` in place of the masked scores."""
    scores = frame.tiles["scores"]
    masked = mask_scores(frame, step)

    def run() -> None:
        numbers = scores.values()
        if masked is not None:
            masked.run(numbers)
        found = logs.values()
        shift = np.where(np.isneginf(found), 0, found).astype(found.dtype, copy=False)
        numbers -= shift[None, :] if frame.transposed else shift[:, None]
        np.exp(numbers, out=numbers)

    loads, arithmetic = (0, 0) if masked is None else (masked.loads, masked.arithmetic)
    body = Body(loads=1 + loads, stores=1, arithmetic=1 + arithmetic, exponentials=1)
    reads = [scores, logs, *([] if masked is None else masked.reads)]
    elements = scores.size[0] * scores.size[1]
    frame.compute("probabilities", body, elements=elements, reads=reads, writes=[scores], run=run)


def score_gradient(frame: AttentionFrame, step: Step, *, delta: Tile, drops_probabilities: bool) -> None:
    """``p ∘ (grad_p - delta)`` in place of grad_p, dropped and scaled as p was.

    ``drops_probabilities``: p, too, is left as dropout left it.
    """
    scores, grad = frame.tiles["scores"], frame.tiles["grad_scores"]
    dropped = frame.shape.dropped is not None

    def run() -> None:
        p, numbers = scores.values(), grad.values()
        factor = frame.kept(step, numbers.dtype) if dropped else None
        if factor is not None:
            numbers *= factor
        found = delta.values()
        numbers -= found[None, :] if frame.transposed else found[:, None]
        numbers *= p
        if factor is not None and drops_probabilities:
            p *= factor

    writes = [grad, scores] if dropped and drops_probabilities else [grad]
    body = Body(loads=2, stores=len(writes), arithmetic=1 + len(writes) + frame.dropout_arithmetic)
    reads = [scores, grad, delta, *([frame.tiles["hyper"]] if dropped else [])]
    elements = grad.size[0] * grad.size[1]
    frame.compute("score gradient", body, elements=elements, reads=reads, writes=writes, run=run)
