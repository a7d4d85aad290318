"""Kernels of the lengths of sequences: arithmetic on them, masks of steps, and the gradient of a last step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import plan_rows, stream
from nnlib.kernels.window import ItemBox, ItemPlan, plan_items
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True, kw_only=True)
class LengthsMap:
    """``y = max((x + add)//divide + plus, 0)`` of lengths (B, 1), whole numbers in the kernel's precision."""

    batch: int
    dtype: DTypeName
    add: int
    divide: int = 1
    plus: int = 0

    @property
    def name(self) -> str:
        return "lengths"

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("x", (self.batch, 1), "in"), Parameter("y", (self.batch, 1), "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        self.run([arrays["x"]], [arrays["y"]])

    def run(self, ins: Sequence[Array], outs: Sequence[Array]) -> None:
        outs[0][...] = np.maximum(np.floor((ins[0] + self.add) / self.divide) + self.plus, 0)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan."""
        item = DTYPES[self.dtype].itemsize
        rows = plan_rows(
            kernel=self.name, rows=self.batch, row_bytes=[item, item], resident=0, processor=core_group.processor
        )
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments["x"])],
            outputs=[rows.operand(arguments["y"])],
            cycles=rows.cycles(Body(loads=1, stores=1, arithmetic=4, divides=1), core_group.cpe),
            run=self.run,
        )


@dataclass(frozen=True, kw_only=True)
class StepMask:
    """``inside`` (T, B) is 1 at the steps below ``lengths`` (B, 1), else 0."""

    batch: int
    steps: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "step_mask"

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("lengths", (self.batch, 1), "in"), Parameter("inside", (self.steps, self.batch), "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        arrays["inside"][...] = np.arange(self.steps)[:, None] < arrays["lengths"][:, 0]

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """Blocks of steps and samples. Raises InfeasiblePlan."""

        def boxes(plan: ItemPlan) -> list[ItemBox]:
            return [
                ItemBox((1, plan.channels), (1, self.batch)),
                ItemBox((plan.rows, plan.channels), (self.steps, self.batch)),
            ]

        items = plan_items(
            kernel=self.name,
            batch=1,
            rows=self.steps,
            columns=1,
            channels=self.batch,
            multiple=1,
            item_bytes=DTYPES[self.dtype].itemsize,
            boxes=boxes,
            processor=core_group.processor,
        )
        rows, width = items.plan.rows, items.plan.channels

        def run(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            steps = items.origins(iteration)[1][:, None] + np.arange(rows)
            outs[0][...] = steps[:, :, None] < ins[0]

        items.stream(
            core_group,
            self.name,
            inputs=[
                items.boxes((1, width), lambda o: (o[0], o[3])).operand(arguments["lengths"].reshape(1, self.batch))
            ],
            outputs=[items.boxes((rows, width), lambda o: (o[1], o[3])).operand(arguments["inside"])],
            cycles=stream_cycles(cpe=core_group.cpe, body=Body(loads=1, stores=1, arithmetic=2), elements=rows * width),
            run_at=run,
        )


@dataclass(frozen=True, kw_only=True)
class LastStepGradient:
    """``grad_x`` (B, T, C) is ``grad_y`` (B, C) at step ``last`` (B, 1) of each sample, else 0.

    Without ``masked`` that is the last of all.
    """

    batch: int
    steps: int
    channels: int
    dtype: DTypeName
    masked: bool = False

    @property
    def name(self) -> str:
        return "last_step_gradient"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("grad_y", (self.batch, self.channels), "in"),
            *((Parameter("last", (self.batch, 1), "in"),) if self.masked else ()),
            Parameter("grad_x", (self.batch, self.steps, self.channels), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        last = arrays["last"] if self.masked else self.steps - 1
        arrays["grad_x"][...] = np.where((np.arange(self.steps) == last)[..., None], arrays["grad_y"][:, None], 0)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """Blocks of steps and channels. Raises InfeasiblePlan."""

        def boxes(plan: ItemPlan) -> list[ItemBox]:
            return [
                ItemBox((1, plan.channels), (self.batch, self.channels)),
                ItemBox((1, 1), (self.batch, 1)),
                ItemBox((1, plan.rows, plan.channels), (self.batch, self.steps, self.channels)),
            ]

        items = plan_items(
            kernel=self.name,
            batch=self.batch,
            rows=self.steps,
            columns=1,
            channels=self.channels,
            multiple=1,
            item_bytes=DTYPES[self.dtype].itemsize,
            boxes=boxes,
            processor=core_group.processor,
        )
        rows, width = items.plan.rows, items.plan.channels
        inputs = [items.boxes((1, width), lambda o: (o[0], o[3])).operand(arguments["grad_y"])]
        if self.masked:
            inputs.append(items.boxes((1, 1), lambda o: (o[0], np.zeros_like(o[0]))).operand(arguments["last"]))

        def run(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            last = ins[1][:, 0] if self.masked else self.steps - 1
            here = items.origins(iteration)[1][:, None] + np.arange(rows) == last
            outs[0][:, 0] = np.where(here[:, :, None], ins[0], 0)

        items.stream(
            core_group,
            self.name,
            inputs=inputs,
            outputs=[items.boxes((1, rows, width), lambda o: (o[0], o[1], o[3])).operand(arguments["grad_x"])],
            cycles=stream_cycles(cpe=core_group.cpe, body=Body(loads=1, stores=1, arithmetic=2), elements=rows * width),
            run_at=run,
        )
