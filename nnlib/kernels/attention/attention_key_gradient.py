"""The tile program of attention's gradients by keys and values: a block of keys stays, queries pass by.

The scores are made transposed, keys by queries, so that they are left factors as they are:
``dv = pᵀ·grad``, ``dk = scale · (p ∘ (grad·valueᵀ - delta))ᵀ·query``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlib.kernels.attention.attention_forward import mask_buffers, sample_buffers, scale_in_place
from nnlib.kernels.attention.attention_frame import AttentionFrame, Step
from nnlib.kernels.attention.attention_plan import (
    COLUMNS,
    MATRIX,
    SWAPPED,
    AttentionPlan,
    Blocks,
    Buffer,
    Layout,
    Product,
)
from nnlib.kernels.attention.attention_query_gradient import probabilities, score_gradient
from nnlib.kernels.attention.attention_shape import AttentionShape
from nnlib.kernels.generations import Library
from nnlib.kernels.kernel import Arguments
from sim.chip.pipeline.streaming import Body
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


def key_gradient_blocks(*, shape: AttentionShape, library: Library, kernel: str, processor: ProcessorSpec) -> Blocks:
    """What the planner needs."""
    side = processor.mesh.columns
    depth, value_depth = -(-shape.depth // side), -(-shape.value_depth // side)

    def layout(plan: AttentionPlan) -> Layout:
        rows, columns = plan.rows, plan.columns
        stay = (
            Buffer(name="key", size=(rows, depth), split=MATRIX, copies=2),
            Buffer(name="value", size=(rows, value_depth), split=MATRIX, copies=2),
        )
        pass_by = [
            Buffer(name="query", size=(columns, depth), split=SWAPPED, copies=2, turned=True),
            Buffer(name="grad_out", size=(columns, value_depth), split=SWAPPED, copies=2, turned=True),
            Buffer(name="query rows", size=(columns, depth), split=MATRIX, copies=2),
            Buffer(name="grad_out rows", size=(columns, value_depth), split=MATRIX, copies=2),
            Buffer(name="logs", size=(columns,), split=COLUMNS, copies=2),
            Buffer(name="delta", size=(columns,), split=COLUMNS, copies=2),
        ]
        pass_by += mask_buffers(shape, (columns, rows), transposed=True)
        work = [
            Buffer(name="scores", size=(rows, columns), split=MATRIX),
            Buffer(name="grad_scores", size=(rows, columns), split=MATRIX),
            Buffer(name="grad_key", size=(rows, depth), split=MATRIX),
            Buffer(name="grad_value", size=(rows, value_depth), split=MATRIX),
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
                Product(m=rows, n=value_depth, k=columns),
            ),
            scores=Body(loads=3, stores=2, arithmetic=3, exponentials=1),
            score_elements=rows * columns,
        )

    return Blocks(
        kernel=kernel, rows=shape.keys, columns=shape.queries, dtype=shape.dtype, library=library, layout=layout
    )


class KeyGradient:
    """One run."""

    def __init__(self, *, shape: AttentionShape, blocks: Blocks, core_group: CoreGroup, arguments: Arguments) -> None:
        self.shape = shape
        self.frame = AttentionFrame(
            shape=shape, blocks=blocks, core_group=core_group, arguments=arguments, transposed=True
        )
        self.tiles, self.streams, self.arguments = self.frame.tiles, self.frame.streams, self.frame.arguments

    def run(self) -> None:
        """All samples and heads."""
        self.frame.run(self.fetch, self.compute)

    def fetch(self, step: Step, rows: bool, columns: bool) -> None:
        """Start the transfers of what is new in a step."""
        row, column = self.frame.places(step)
        arguments, head = self.arguments, step.head
        if rows:
            for name in ("key", "value"):
                self.streams[name].fetch(head.rows(arguments[name]), (row, 0))
        if columns:
            for name in ("query", "grad_out"):
                array = head.rows(arguments[name])
                self.streams[name].fetch(array, (column, 0))
                self.streams[f"{name} rows"].fetch(array, (column, 0))
            for name in ("logs", "delta"):
                self.streams[name].fetch(head.plane(arguments[name]), (column,))
        if self.shape.mask is not None:
            self.streams["mask"].fetch(head.plane(arguments["mask"]), (column, row))

    def compute(self, step: Step) -> None:
        """One block of scores, and what is done with its rows at their begin and end."""
        frame, shape, streams = self.frame, self.shape, self.streams
        key, value = streams["key"].tile(), streams["value"].tile()
        if step.first:
            scale_in_place(frame, key, shape.scale)
        queries, grads = streams["query"].tile(), streams["grad_out"].tile()
        depth, value_depth = shape.depth, shape.value_depth
        frame.product("scores", c="scores", a=key, b=queries, depth=depth, step=step, accumulate=False)
        frame.product(
            "grad probabilities", c="grad_scores", a=value, b=grads, depth=value_depth, step=step, accumulate=False
        )
        probabilities(frame, step, logs=streams["logs"].tile())
        score_gradient(frame, step, delta=streams["delta"].tile(), drops_probabilities=True)
        if step.first:
            frame.wait_put("grad_value")
            frame.wait_put("grad_key")
        frame.product(
            "grad values",
            c="grad_value",
            a=self.tiles["scores"],
            b=streams["grad_out rows"].tile(),
            depth=value_depth,
            step=step,
            accumulate=not step.first,
        )
        frame.product(
            "grad keys",
            c="grad_key",
            a=self.tiles["grad_scores"],
            b=streams["query rows"].tile(),
            depth=depth,
            step=step,
            accumulate=not step.first,
        )
        if step.last:
            scale_in_place(frame, self.tiles["grad_key"], shape.scale)
            row, _ = frame.places(step)
            for name in ("grad_key", "grad_value"):
                frame.put(name, step.head.rows(self.arguments[name]), (row, 0))
