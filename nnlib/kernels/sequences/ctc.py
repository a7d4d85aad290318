"""Connectionist temporal classification: each sample's loss and the gradient by its logits.

Five passes, with the lattice in memory between them: the target with its blanks; what the classes' probabilities are at
these positions; alpha from the first step to the last; beta back, which turns alpha into the positions' occupancies;
and the gradient. Of alpha and beta each row of the mesh has a sample, its CPEs shares of the positions. The other
passes go over blocks of steps, positions and classes; any CPE takes any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.sequences.ctc_lattice import CtcLattice
from nnlib.kernels.streaming import Operand, column_blocks
from nnlib.kernels.window import ItemBox, ItemPlan, Items, plan_items
from nnlib.ops.ctc import ctc_forward, ctc_gradient, ctc_occupancy
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True, kw_only=True)
class CtcLoss:
    """``loss`` (B, 1) and ``grad_logits`` (B, T, V) from ``log_probs`` (B, T, V).

    ``targets`` (B, L) are filled up by -1, ``lengths`` (B, 1) are the inputs' steps if ``masked``. ``weights`` (B, 1)
    multiply loss and gradient, with ``normalised`` divided by the number of labels. A target too long for its input
    costs inf with a gradient of NaN, or both 0 with ``zero_infinity`` and where the weight is 0.
    Besides, there are ``positions`` (B, 2·L + 1), the targets with their blanks, ``scale`` (B, 1), the weight or what
    stands for it, and the lattice, ``emission`` and ``occupancy`` (B, T, 2·L + 1).
    """

    batch: int
    steps: int
    classes: int
    labels: int
    dtype: DTypeName
    blank: int = 0
    masked: bool = True
    normalised: bool = False
    zero_infinity: bool = False

    @property
    def name(self) -> str:
        return "ctc_loss"

    @property
    def width(self) -> int:
        """Positions of the longest target."""
        return 2 * self.labels + 1

    def parameters(self) -> tuple[Parameter, ...]:
        probabilities = (self.batch, self.steps, self.classes)
        lattice = (self.batch, self.steps, self.width)
        of_sample = (self.batch, 1)
        return (
            Parameter("log_probs", probabilities, "in"),
            Parameter("targets", (self.batch, self.labels), "in"),
            *((Parameter("lengths", of_sample, "in"),) if self.masked else ()),
            Parameter("weights", of_sample, "in"),
            Parameter("grad_logits", probabilities, "out"),
            Parameter("positions", (self.batch, self.width), "out"),
            Parameter("loss", of_sample, "out"),
            Parameter("scale", of_sample, "out"),
            Parameter("emission", lattice, "out"),
            Parameter("occupancy", lattice, "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        targets, weights = arrays["targets"].astype(np.int64), arrays["weights"][:, 0]
        lengths = arrays["lengths"][:, 0].astype(np.int64) if self.masked else None
        run = ctc_forward(arrays["log_probs"], targets, lengths, blank=self.blank)
        if self.normalised:
            weights = weights / np.maximum(run.positions.count // 2, 1).astype(weights.dtype)
        lost = np.isinf(run.losses)
        void = (weights == 0) | (lost & self.zero_infinity)
        arrays["scale"][:, 0] = np.where(void, 0, np.where(lost, np.nan, weights))
        arrays["loss"][:, 0] = np.where(void, 0, run.losses) * weights
        arrays["grad_logits"][...] = np.where(void[:, None, None], 0, ctc_gradient(run)) * weights[:, None, None]
        arrays["positions"][...] = np.where(run.positions.used, run.positions.labels, -1)
        arrays["emission"][...] = np.where(run.positions.used, run.emission, 0).swapaxes(0, 1)
        arrays["occupancy"][...] = ctc_occupancy(run).swapaxes(0, 1)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if not even one step's shares of the positions fit the LDM."""
        self.extend(core_group, arguments)
        core_group.sync("positions")
        self.emit(core_group, arguments)
        core_group.sync("emissions")
        CtcLattice(
            batch=self.batch,
            steps=self.steps,
            positions=self.width,
            dtype=self.dtype,
            masked=self.masked,
            normalised=self.normalised,
            zero_infinity=self.zero_infinity,
            core_group=core_group,
        ).run(arguments)
        core_group.sync("occupancies")
        self.differentiate(core_group, arguments)

    def extend(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """Pairs of a blank and a label; a blank is there if the label before it is."""

        def boxes(plan: ItemPlan) -> list[ItemBox]:
            targets, positions = (self.batch, self.labels), (self.batch, self.width)
            return [ItemBox((1, plan.channels + 1), targets), ItemBox((1, 2 * plan.channels), positions)]

        items = plan_items(
            kernel=self.name,
            batch=self.batch,
            rows=1,
            columns=1,
            channels=self.labels + 1,
            multiple=1,
            item_bytes=DTYPES[self.dtype].itemsize,
            boxes=boxes,
            processor=core_group.processor,
        )
        pairs = items.plan.channels

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            labels = ins[0][:, 0]  # in front of the first label there is 0, which is one
            outs[0][:, 0, ::2] = np.where(labels[:, :-1] >= 0, self.blank, -1)
            outs[0][:, 0, 1::2] = labels[:, 1:]

        body = Body(loads=2, stores=2, arithmetic=3)
        items.stream(
            core_group,
            "ctc positions",
            inputs=[items.boxes((1, pairs + 1), lambda o: (o[0], o[3] - 1)).operand(arguments["targets"])],
            outputs=[items.boxes((1, 2 * pairs), lambda o: (o[0], 2 * o[3])).operand(arguments["positions"])],
            cycles=stream_cycles(cpe=core_group.cpe, body=body, elements=pairs),
            run=run,
        )

    def emit(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """Pick the probabilities at the positions, a block of classes and one of positions after the other."""
        for classes in self.blocks(core_group, self.classes, positions=1, steps=1):
            for positions in self.blocks(core_group, self.width, classes=len(classes), steps=1):
                self.pick(core_group, arguments, classes, positions)

    def blocks(
        self, core_group: CoreGroup, length: int, *, steps: int, classes: int = 0, positions: int = 0
    ) -> list[range]:
        """Blocks of classes or of positions, whichever is not given, so that ``steps`` steps of both fit."""
        item = DTYPES[self.dtype].itemsize

        def needed(width: int) -> int:
            wide, many = classes or width, positions or width
            row = 2 * aligned(steps * wide * item) + 2 * aligned(steps * many * item)
            # positions, lengths and scale; what is added to comes before it goes
            return 2 * row + 2 * aligned(many * item) + 4 * aligned(item)

        return column_blocks(length, needed=needed, kernel=self.name, processor=core_group.processor)

    def items(self, core_group: CoreGroup, sizes: Sequence[tuple[str, int]]) -> Items:
        """Blocks of steps of each sample; ``sizes``: the arrays that come or go with one, and how wide."""
        known = {each.name: each.shape for each in self.parameters()}

        def boxes(plan: ItemPlan) -> list[ItemBox]:
            return [
                ItemBox((1, plan.rows, width) if len(known[name]) == 3 else (1, width), known[name])
                for name, width in sizes
            ]

        return plan_items(
            kernel=self.name,
            batch=self.batch,
            rows=self.steps,
            columns=1,
            channels=1,
            multiple=1,
            item_bytes=DTYPES[self.dtype].itemsize,
            boxes=boxes,
            processor=core_group.processor,
        )

    def operand(self, items: Items, array: MemoryArray, columns: range) -> Operand:
        """An item's part of an array: its steps, if it has any, and ``columns``."""
        if len(array.shape) == 3:
            size: tuple[int, ...] = (1, items.plan.rows, len(columns))
            return items.boxes(size, lambda o: (o[0], o[1], np.full_like(o[0], columns.start))).operand(array)
        return items.boxes((1, len(columns)), lambda o: (o[0], np.full_like(o[0], columns.start))).operand(array)

    def pick(self, core_group: CoreGroup, arguments: Arguments, classes: range, positions: range) -> None:
        """The emissions at ``positions`` whose class is one of ``classes``; others stay as they are."""
        first = classes.start == 0
        sizes = [("log_probs", len(classes)), ("positions", len(positions)), ("emission", len(positions))]
        items = self.items(core_group, sizes if first else [*sizes, ("emission", len(positions))])
        inputs = [
            self.operand(items, arguments["log_probs"], classes),
            self.operand(items, arguments["positions"], positions),
        ]
        emission = self.operand(items, arguments["emission"], positions)

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            found, labels = ins[0][:, 0], ins[1][:, 0].astype(np.int64) - classes.start
            here = (labels >= 0) & (labels < len(classes))
            picked = np.take_along_axis(found, np.where(here, labels, 0)[:, None], axis=2)
            outs[0][:, 0] = np.where(here[:, None], picked, 0 if first else ins[-1][:, 0])

        # a scalar load by the label and a scalar store for each lane
        lanes = core_group.cpe.vector_lanes
        body = Body(loads=lanes + 1, stores=lanes, arithmetic=lanes)
        items.stream(
            core_group,
            "ctc emissions",
            inputs=inputs if first else [*inputs, emission],
            outputs=[emission],
            cycles=stream_cycles(cpe=core_group.cpe, body=body, elements=items.plan.rows * len(positions)),
            run=run,
        )

    def differentiate(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The probabilities less the occupancies, a block of classes and one of positions after the other."""
        for classes in self.blocks(core_group, self.classes, positions=1, steps=1):
            for positions in self.blocks(core_group, self.width, classes=len(classes), steps=1):
                self.subtract(core_group, arguments, classes, positions)

    def subtract(self, core_group: CoreGroup, arguments: Arguments, classes: range, positions: range) -> None:
        """Begin with the probabilities of ``classes`` at the first ``positions``, go on with the gradient at others."""
        first = positions.start == 0
        source = "log_probs" if first else "grad_logits"
        sizes = [
            (source, len(classes)),
            ("positions", len(positions)),
            ("occupancy", len(positions)),
            ("scale", 1),
            *((("lengths", 1),) if self.masked else ()),
            ("grad_logits", len(classes)),
        ]
        items = self.items(core_group, sizes)

        def run(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            start, labels, occupancy, scale, *rest = (each[:, 0] for each in ins)
            lengths = rest[0] if self.masked else self.steps
            inside = items.origins(iteration)[1][:, None] + np.arange(items.plan.rows) < lengths
            grad = outs[0][:, 0]
            grad[...] = np.where(inside[:, :, None], np.exp(start) * scale[:, :, None], 0) if first else start
            occupied = np.where(inside[:, :, None], occupancy * scale[:, :, None], 0)
            found = labels.astype(np.int64) - classes.start
            here = (found >= 0) & (found < len(classes))
            samples, steps = np.arange(len(grad))[:, None], np.arange(grad.shape[1])
            for position in np.flatnonzero(here.any(axis=0)):  # no class is twice at a position
                of_class = np.where(here[:, position], found[:, position], 0)[:, None]
                grad[samples, steps, of_class] -= np.where(here[:, position, None], occupied[:, :, position], 0)

        cpe, rows = core_group.cpe, items.plan.rows
        begin = Body(loads=1, stores=1, arithmetic=2, exponentials=1) if first else Body(loads=1, stores=1)
        lanes = cpe.vector_lanes
        scatter = Body(loads=2 * lanes + 1, stores=lanes, arithmetic=2 * lanes)
        items.stream(
            core_group,
            "ctc gradient",
            inputs=[
                self.operand(items, arguments[source], classes),
                self.operand(items, arguments["positions"], positions),
                self.operand(items, arguments["occupancy"], positions),
                self.operand(items, arguments["scale"], range(1)),
                *([self.operand(items, arguments["lengths"], range(1))] if self.masked else []),
            ],
            outputs=[self.operand(items, arguments["grad_logits"], classes)],
            cycles=stream_cycles(cpe=cpe, body=begin, elements=rows * len(classes))
            + stream_cycles(cpe=cpe, body=scatter, elements=rows * len(positions)),
            run_at=run,
            flops=2 * self.batch * self.steps * (len(classes) if first else 0),
        )
