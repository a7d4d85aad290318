"""The element-wise part of a recurrent layer's step, forward and backward: all gates in one pass through the LDM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter, Use
from nnlib.kernels.sequences.grid import Grid, plan_grid
from nnlib.kernels.sequences.recurrent_gates import CellName, Direction, Named, StageName, cell_arrays
from nnlib.ops.simple_recurrent import CEILING
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class RecurrentCell:
    """A step's gates for ``batch`` samples of ``hidden`` units; arrays are (batch, planes·hidden).

    ``forward``: from ``x_product`` and ``h_product``, the products of the input and of the last output, to the opened
    ``gates`` (in the order of :mod:`nnlib.ops.lstm` and :mod:`nnlib.ops.gru`) and the new states. ``gradient``: from
    ``grad_y`` + ``grad_hidden`` to the gradients by the products and by what goes past them.
    ``masked``: ``inside`` (batch, 1) is 1, or 0 where a sequence is over: there states stay as they are and ``y`` is 0,
    and backward the gradients by the states pass unchanged. ``bias``: the candidate of a gated recurrent unit has one.
    """

    cell: CellName | StageName
    batch: int
    hidden: int
    dtype: DTypeName
    direction: Direction = "forward"
    masked: bool = False
    ceiling: float = CEILING
    bias: bool = True

    @property
    def name(self) -> str:
        return f"{self.cell}_cell" if self.direction == "forward" else f"{self.cell}_cell_gradient"

    @property
    def arrays(self) -> tuple[dict[str, int], dict[str, int]]:
        """Planes of each input and of each output."""
        known = cell_arrays(self.cell, self.direction, self.ceiling)
        inputs, outputs = dict(known.inputs), dict(known.outputs)
        if self.masked and self.direction == "forward":
            inputs["hidden"] = 1
            outputs["y"] = 1
        if self.masked and self.direction == "gradient" and known.carries:
            outputs["grad_before"] = 1
        return inputs, outputs

    @property
    def biased(self) -> bool:
        """True where the candidate's recurrent bias cannot be added to the input's product."""
        return self.bias and self.cell == "gru" and self.direction == "forward"

    def parameters(self) -> tuple[Parameter, ...]:
        inputs, outputs = self.arrays

        def of(arrays: Mapping[str, int], use: Use) -> list[Parameter]:
            return [Parameter(name, (self.batch, planes * self.hidden), use) for name, planes in arrays.items()]

        found = of(inputs, "in")
        if self.biased:
            found.append(Parameter("candidate_bias", (1, self.hidden), "in", common=True))
        if self.masked:
            found.append(Parameter("inside", (self.batch, 1), "in"))
        return (*found, *of(outputs, "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        inputs, outputs = self.arrays
        ins = {name: arrays[name] for name in (*inputs, *self.extra)}
        self.compute(ins, {name: arrays[name] for name in outputs})

    @property
    def extra(self) -> tuple[str, ...]:
        """Inputs that do not have the shape of a state."""
        return (*(("candidate_bias",) if self.biased else ()), *(("inside",) if self.masked else ()))

    def compute(self, ins: Named, outs: Named) -> None:
        """The numbers; arrays have planes·width columns for any width."""
        known = cell_arrays(self.cell, self.direction, self.ceiling)
        if not self.masked:
            known.run(ins, outs)
            return
        inside = ins["inside"]
        if self.direction == "forward":
            known.run(ins, outs)
            outs["y"][...] = outs["new_hidden"] * inside
            for name, old in (("new_hidden", "hidden"), ("new_cell", "cell")):
                if name in outs:
                    np.copyto(outs[name], ins[old], where=inside == 0)
            return
        masked = {name: ins[name] * inside if name.startswith("grad_") else ins[name] for name in ins}
        if "grad_before" not in known.outputs and known.carries:
            outs["grad_before"][...] = 0
        known.run(masked, outs)
        for name, old in (("grad_before", "grad_hidden"), ("grad_cell_before", "grad_cell")):
            if name in outs and known.carries:
                outs[name][...] += ins[old] * (1 - inside)

    @property
    def body(self) -> Body:
        """Instructions per vector of hidden units."""
        body = cell_arrays(self.cell, self.direction, self.ceiling).body
        if not self.masked:
            return body
        states = 2 if self.cell == "lstm" else 1
        more = 1 + states if self.direction == "forward" else 2 + 2 * states
        return Body(
            loads=body.loads + (self.cell != "gru" and self.direction == "forward"),
            stores=body.stores + 1,
            arithmetic=body.arithmetic + more,
            divides=body.divides,
            exponentials=body.exponentials,
        )

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """Rows over the mesh's rows, hidden units over its columns. Raises InfeasiblePlan."""
        inputs, outputs = self.arrays
        grid = self.plan(core_group.processor)
        ins = [
            grid.operand(arguments[name].reshape(self.batch, planes, self.hidden)) for name, planes in inputs.items()
        ]
        if self.biased:
            ins.append(grid.per_column(arguments["candidate_bias"]))
        if self.masked:
            ins.append(grid.per_row(arguments["inside"]))
        outs = [
            grid.operand(arguments[name].reshape(self.batch, planes, self.hidden)) for name, planes in outputs.items()
        ]

        def run(sources: Sequence[Array], targets: Sequence[Array]) -> None:
            names = (*inputs, *self.extra)
            self.compute(
                {name: each.reshape(len(each), -1) for name, each in zip(names, sources, strict=True)},
                {name: each.reshape(len(each), -1) for name, each in zip(outputs, targets, strict=True)},
            )

        grid.stream(
            core_group,
            self.name,
            inputs=ins,
            outputs=outs,
            body=self.body,
            run=run,
            flops=cell_arrays(self.cell, self.direction).flops * self.batch * self.hidden,
        )

    def plan(self, processor: ProcessorSpec) -> Grid:
        """The rounds. Raises InfeasiblePlan."""
        inputs, outputs = self.arrays
        item = DTYPES[self.dtype].itemsize
        return plan_grid(
            kernel=self.name,
            rows=self.batch,
            columns=self.hidden,
            inputs=[*inputs.values(), *([1] if self.biased else [])],
            outputs=list(outputs.values()),
            row_bytes=[item] if self.masked else [],
            item=item,
            body=self.body,
            processor=processor,
        )
