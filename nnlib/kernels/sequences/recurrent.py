"""A direction of a recurrent layer over all its steps, in one launch: per step a product with the weights, then gates.

The products of the inputs are one GEMM before, the gradients by inputs and input weights others after; a step's own
product is as high as the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from nnlib.kernels.batched import plane
from nnlib.kernels.generations import DEFAULT_LIBRARY, Library
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.sequences.recurrent_cell import RecurrentCell
from nnlib.kernels.sequences.recurrent_resident import ResidentProgram, suits_resident
from nnlib.kernels.sequences.recurrent_shape import BEFORE, CARRIED, RecurrentShape, cut, step_planes, step_views
from nnlib.kernels.streaming import plan_rows, stream
from nnlib.precision import DTypeName
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True, kw_only=True)
class RecurrentLayer:
    """Outputs and states of all steps. ``resident``: the weights stay in the LDMs of the mesh; None: where that suits.

    ``x_product`` (T, B, gates·H) and ``weight`` (H, gates·H); ``hidden`` (T+1, B, H) are the outputs, or ``y`` where
    lengths mask them. ``fresh``: the initial states are zeros, which the kernel writes.
    """

    shape: RecurrentShape
    dtype: DTypeName
    resident: bool | None = None
    fresh: bool = False
    library: Library = DEFAULT_LIBRARY

    @property
    def name(self) -> str:
        return f"{self.shape.cell}_layer"

    @property
    def cell(self) -> RecurrentCell:
        return self.shape.of_cell(self.dtype, gradient=False)

    def stays(self, processor: ProcessorSpec) -> bool:
        """True if the weights stay in the LDMs."""
        return suits_resident(self.shape, self.cell, processor) if self.resident is None else self.resident

    @property
    def initial(self) -> tuple[str, ...]:
        """The states whose initial plane the kernel writes."""
        names = tuple(name for name in BEFORE.values() if any(each.name == name for each in self.parameters()))
        return names if self.fresh else ()

    @property
    def product(self) -> Gemm:
        """A step's product."""
        shape = self.shape
        return Gemm(m=shape.batch, n=shape.columns, k=shape.hidden, dtype=self.dtype, library=self.library)

    def parameters(self) -> tuple[Parameter, ...]:
        found = {"weight": Parameter("weight", (self.shape.hidden, self.shape.columns), "in", common=True)}
        for each in self.cell.parameters():
            mine = self.shape.planes(each)
            if mine.name in BEFORE.values():
                mine = replace(mine, use="out" if self.fresh else "inout")
            found[mine.name] = mine
        return tuple(found.values())

    def reference(self, arrays: Mapping[str, Array]) -> None:
        for name in self.initial:
            arrays[name][self.shape.before(self.shape.step(0))] = 0
        for number in range(self.shape.steps):
            step = self.shape.step(number)
            views = step_views(self.shape, self.cell, arrays, step)
            product = arrays["hidden"][self.shape.before(step)] @ arrays["weight"]
            self.cell.reference({**views, "h_product": product})

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan."""
        shape = self.shape
        first = shape.before(shape.step(0))
        clear(core_group, [plane(arguments[name], first) for name in self.initial])
        if self.stays(core_group.processor):
            ResidentProgram(layer=shape, cell=self.cell, library=self.library, core_group=core_group).run(arguments)
            return
        for number in core_group.loop(self.name, shape.steps, steady=range(1, shape.steps)):
            step = shape.step(number)
            product = {
                "a": plane(arguments["hidden"], shape.before(step)),
                "b": arguments["weight"],
                "c": step_planes(shape, self.cell, arguments, step)["h_product"],
            }
            self.product.program(core_group, product)
            core_group.sync("product")
            self.cell.program(core_group, step_planes(shape, self.cell, arguments, step))
            core_group.sync("step")


@dataclass(frozen=True, kw_only=True)
class RecurrentLayerGradient:
    """Gradients by the products of all steps, by the weights and by the initial states.

    ``grad_hidden`` and ``grad_cell`` (B, H) come as gradients by the final states and go as those by the initial ones.
    ``grad_product`` (T, B, gates·H) is by the input's product; where the last output's has another gradient, as in a
    gated recurrent unit, that is ``grad_h_product``. ``fresh``: they come as zeros, which the kernel writes.
    """

    shape: RecurrentShape
    dtype: DTypeName
    resident: bool | None = None
    fresh: bool = False
    library: Library = DEFAULT_LIBRARY

    @property
    def name(self) -> str:
        return f"{self.shape.cell}_layer_gradient"

    @property
    def cell(self) -> RecurrentCell:
        return self.shape.of_cell(self.dtype, gradient=True)

    def stays(self, processor: ProcessorSpec) -> bool:
        """True if the weights stay in the LDMs."""
        return suits_resident(self.shape, self.cell, processor) if self.resident is None else self.resident

    @property
    def initial(self) -> tuple[str, ...]:
        """The gradients by the final states that the kernel writes."""
        names = tuple(name for name in CARRIED.values() if any(each.name == name for each in self.parameters()))
        return names if self.fresh else ()

    @property
    def of_product(self) -> str:
        """The gradient that goes through the weights."""
        return "grad_h_product" if "grad_h_product" in self.cell.arrays[1] else "grad_product"

    @property
    def adds(self) -> bool:
        """True where something of the gradient by a state goes past the product."""
        return "grad_before" in self.cell.arrays[1]

    @property
    def product(self) -> Gemm:
        """A step's: the gradient by the last output."""
        shape = self.shape
        return Gemm(
            m=shape.batch,
            n=shape.hidden,
            k=shape.columns,
            dtype=self.dtype,
            transpose_b=True,
            accumulate=self.adds,
            library=self.library,
        )

    @property
    def weights(self) -> Gemm:
        """All steps': the gradient by the weights."""
        shape = self.shape
        rows = shape.steps * shape.batch
        return Gemm(m=shape.hidden, n=shape.columns, k=rows, dtype=self.dtype, transpose_a=True, library=self.library)

    def parameters(self) -> tuple[Parameter, ...]:
        matrix = (self.shape.hidden, self.shape.columns)
        found = {"weight": Parameter("weight", matrix, "in", common=True)}
        for each in self.cell.parameters():
            mine = self.shape.planes(each)
            if mine.name in CARRIED.values():
                mine = replace(mine, use="out" if self.fresh else "inout")
            found.setdefault(mine.name, mine)
        states = (self.shape.steps + 1, self.shape.batch, self.shape.hidden)
        found.setdefault("hidden", Parameter("hidden", states, "in"))
        return (*found.values(), Parameter("grad_weight", matrix, "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        shape = self.shape
        for name in self.initial:
            arrays[name][...] = 0
        for number in reversed(range(shape.steps)):
            step = shape.step(number)
            views = step_views(shape, self.cell, arrays, step)
            inputs = {name: array.copy() for name, array in views.items() if name in CARRIED.values()}
            self.cell.reference({**views, **inputs})
            product = arrays[self.of_product][step] @ arrays["weight"].T
            if self.adds:
                product += arrays["grad_hidden"]
            arrays["grad_hidden"][...] = product
        before = (arrays["hidden"][1:] if shape.reverse else arrays["hidden"][:-1]).reshape(-1, shape.hidden)
        arrays["grad_weight"][...] = before.T @ arrays[self.of_product].reshape(-1, shape.columns)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan."""
        shape = self.shape
        clear(core_group, [arguments[name] for name in self.initial])
        if self.stays(core_group.processor):
            program = ResidentProgram(
                layer=shape, cell=self.cell, library=self.library, core_group=core_group, of_product=self.of_product
            )
            program.run(arguments)
        else:
            self.steps(core_group, arguments)
        core_group.sync("steps")
        rows = (shape.steps * shape.batch, shape.hidden)
        product = {
            "a": cut(arguments["hidden"], first=1 if shape.reverse else 0, count=shape.steps).reshape(*rows),
            "b": arguments[self.of_product].reshape(rows[0], shape.columns),
            "c": arguments["grad_weight"],
        }
        self.weights.program(core_group, product)

    def steps(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """Step by step, from the last to the first."""
        shape = self.shape
        for number in core_group.loop(self.name, shape.steps, steady=range(1, shape.steps)):
            step = shape.step(shape.steps - 1 - number)
            self.cell.program(core_group, step_planes(shape, self.cell, arguments, step))
            core_group.sync("step")
            product = {
                "a": plane(arguments[self.of_product], step),
                "b": arguments["weight"],
                "c": arguments["grad_hidden"],
            }
            self.product.program(core_group, product)
            core_group.sync("product")


def clear(core_group: CoreGroup, arrays: Sequence[MemoryArray]) -> None:
    """Write zeros into matrices; all CPEs see them."""
    for array in arrays:
        rows = plan_rows(
            kernel="clear",
            rows=prod(array.shape),
            row_bytes=[array.dtype.itemsize],
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )

        def fill(_: Sequence[Array], outs: Sequence[Array]) -> None:
            outs[0][...] = 0

        stream(
            core_group,
            "clear",
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[],
            outputs=[rows.operand(array.reshape(prod(array.shape)))],
            cycles=rows.cycles(Body(stores=1), core_group.cpe),
            run=fill,
        )
    if arrays:
        core_group.sync("cleared")
