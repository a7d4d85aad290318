"""A gated recurrent unit that resets before its product, ONNX's default: two products and two passes for each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.batched import plane
from nnlib.kernels.convolutions.grouped import columns_of
from nnlib.kernels.generations import DEFAULT_LIBRARY, Library
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.sequences.recurrent import clear
from nnlib.kernels.sequences.recurrent_cell import RecurrentCell
from nnlib.kernels.sequences.recurrent_gates import Direction, StageName
from nnlib.kernels.sequences.recurrent_shape import RecurrentShape, cut
from nnlib.precision import DTypeName
from sim.chip.memory import Array

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


def _stage(shape: RecurrentShape, name: StageName, dtype: DTypeName, direction: Direction) -> RecurrentCell:
    masked = shape.masked and (name, direction) != ("gru_gates", "forward")
    return RecurrentCell(name, shape.batch, shape.hidden, dtype, direction, masked)


def _parameters(shape: RecurrentShape, names: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Shapes (T, B, planes·H)."""
    return {name: (shape.steps, shape.batch, planes * shape.hidden) for name, planes in names.items()}


@dataclass(frozen=True, kw_only=True)
class ResetFirstLayer:
    """Outputs and states of all steps, from initial states of 0; ``shape`` is that of a gated recurrent unit.

    ``x_product`` (T, B, 3·H) and ``weight`` (H, 3·H); ``opened`` (T, B, 2·H) are the gates r and z. ``hidden``
    (T+1, B, H) are the outputs, or ``y`` where lengths mask them.
    """

    shape: RecurrentShape
    dtype: DTypeName
    library: Library = DEFAULT_LIBRARY

    @property
    def name(self) -> str:
        return "reset_first_layer"

    @property
    def stages(self) -> tuple[RecurrentCell, RecurrentCell]:
        """Gates, then candidate."""
        return (
            _stage(self.shape, "gru_gates", self.dtype, "forward"),
            _stage(self.shape, "gru_candidate", self.dtype, "forward"),
        )

    def parameters(self) -> tuple[Parameter, ...]:
        shape = self.shape
        states = (shape.steps + 1, shape.batch, shape.hidden)
        made = {"opened": 2, "remembered": 1, "candidate": 1} | ({"y": 1} if shape.masked else {})
        found = [Parameter(name, each, "in") for name, each in _parameters(shape, {"x_product": 3}).items()]
        found.append(Parameter("weight", (shape.hidden, shape.columns), "in", common=True))
        if shape.masked:
            found.append(Parameter("inside", (shape.steps, shape.batch, 1), "in"))
        found += [Parameter(name, each, "out") for name, each in _parameters(shape, made).items()]
        return (*found, Parameter("hidden", states, "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        shape, weight = self.shape, arrays["weight"]
        arrays["hidden"][shape.before(shape.step(0))] = 0
        for number in range(shape.steps):
            step = shape.step(number)
            views = _views(shape, arrays, step)
            gates, candidate = self.stages
            gates.reference({**views, "h_product": views["hidden"] @ weight[:, : 2 * shape.hidden]})
            candidate.reference({**views, "h_product": views["remembered"] @ weight[:, 2 * shape.hidden :]})

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan."""
        shape, size = self.shape, self.shape.hidden
        clear(core_group, [plane(arguments["hidden"], shape.before(shape.step(0)))])
        gates, candidate = self.stages
        first = Gemm(m=shape.batch, n=2 * size, k=size, dtype=self.dtype, library=self.library)
        second = Gemm(m=shape.batch, n=size, k=size, dtype=self.dtype, library=self.library)
        of_gates = columns_of(arguments["weight"], 0, 2 * size)
        of_candidate = columns_of(arguments["weight"], 2 * size, size)
        for number in core_group.loop(self.name, shape.steps, steady=range(1, shape.steps)):
            views = _planes(shape, arguments, shape.step(number))
            first.program(core_group, {"a": views["hidden"], "b": of_gates, "c": views["opened"]})
            core_group.sync("product")
            gates.program(core_group, {**views, "h_product": views["opened"]})
            core_group.sync("gates")
            second.program(core_group, {"a": views["remembered"], "b": of_candidate, "c": views["candidate"]})
            core_group.sync("product")
            candidate.program(core_group, {**views, "h_product": views["candidate"]})
            core_group.sync("step")


@dataclass(frozen=True, kw_only=True)
class ResetFirstGradient:
    """Gradients by the input's products of all steps and by the weights; the final states have none.

    ``grad_candidate`` (T, B, H), ``by_remembered`` and ``grad_hidden`` (B, H), the gradient by the initial states, come
    besides.
    """

    shape: RecurrentShape
    dtype: DTypeName
    library: Library = DEFAULT_LIBRARY

    @property
    def name(self) -> str:
        return "reset_first_layer_gradient"

    @property
    def stages(self) -> tuple[RecurrentCell, RecurrentCell]:
        """Candidate, then gates."""
        return (
            _stage(self.shape, "gru_candidate", self.dtype, "gradient"),
            _stage(self.shape, "gru_gates", self.dtype, "gradient"),
        )

    def parameters(self) -> tuple[Parameter, ...]:
        shape = self.shape
        matrix, state = (shape.hidden, shape.columns), (shape.batch, shape.hidden)
        taken = _parameters(shape, {"opened": 2, "remembered": 1, "candidate": 1, "grad_y": 1})
        made = _parameters(shape, {"grad_product": 3, "grad_candidate": 1})
        found = [Parameter("weight", matrix, "in", common=True)]
        found += [Parameter(name, each, "in") for name, each in taken.items()]
        found.append(Parameter("hidden", (shape.steps + 1, *state), "in"))
        if shape.masked:
            found.append(Parameter("inside", (shape.steps, shape.batch, 1), "in"))
        found += [Parameter(name, each, "out") for name, each in made.items()]
        found += [Parameter(name, state, "out") for name in ("by_remembered", "grad_hidden")]
        return (*found, Parameter("grad_weight", matrix, "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        shape, size, weight = self.shape, self.shape.hidden, arrays["weight"]
        arrays["grad_hidden"][...] = 0
        candidate, gates = self.stages
        for number in reversed(range(shape.steps)):
            views = _views(shape, arrays, shape.step(number))
            before = {"grad_hidden": views["grad_hidden"].copy()}
            candidate.reference({**views, **before})
            views["by_remembered"][...] = views["grad_candidate"] @ weight[:, 2 * size :].T
            gates.reference({**views, **before, "grad_before": views["grad_hidden"]})
            views["grad_hidden"] += views["grad_product"][:, : 2 * size] @ weight[:, : 2 * size].T
        hidden = arrays["hidden"][1:] if shape.reverse else arrays["hidden"][:-1]
        rows, grad = shape.steps * shape.batch, arrays["grad_product"].reshape(-1, 3 * size)
        of_gates = hidden.reshape(rows, size).T @ grad[:, : 2 * size]
        of_candidate = arrays["remembered"].reshape(rows, size).T @ grad[:, 2 * size :]
        arrays["grad_weight"][...] = np.concatenate([of_gates, of_candidate], axis=1)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan."""
        shape, size = self.shape, self.shape.hidden
        clear(core_group, [arguments["grad_hidden"]])
        candidate, gates = self.stages
        batch = shape.batch
        first = Gemm(m=batch, n=size, k=size, dtype=self.dtype, transpose_b=True, library=self.library)
        second = Gemm(
            m=batch, n=size, k=2 * size, dtype=self.dtype, transpose_b=True, accumulate=True, library=self.library
        )
        of_gates = columns_of(arguments["weight"], 0, 2 * size)
        of_candidate = columns_of(arguments["weight"], 2 * size, size)
        for number in core_group.loop(self.name, shape.steps, steady=range(1, shape.steps)):
            views = _planes(shape, arguments, shape.step(shape.steps - 1 - number))
            candidate.program(core_group, views)
            core_group.sync("candidate")
            remembered = {"a": views["grad_candidate"], "b": of_candidate, "c": views["by_remembered"]}
            first.program(core_group, remembered)
            core_group.sync("product")
            gates.program(core_group, {**views, "grad_before": views["grad_hidden"]})
            core_group.sync("step")
            grad = columns_of(views["grad_product"], 0, 2 * size)
            second.program(core_group, {"a": grad, "b": of_gates, "c": views["grad_hidden"]})
            core_group.sync("product")
        self.weights(core_group, arguments)

    def weights(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The gradient by the weights, of all steps."""
        shape, size = self.shape, self.shape.hidden
        rows = shape.steps * shape.batch
        before = cut(arguments["hidden"], first=1 if shape.reverse else 0, count=shape.steps).reshape(rows, size)
        grad = arguments["grad_product"].reshape(rows, 3 * size)
        for source, first, count in (
            (before, 0, 2 * size),
            (arguments["remembered"].reshape(rows, size), 2 * size, size),
        ):
            kernel = Gemm(m=size, n=count, k=rows, dtype=self.dtype, transpose_a=True, library=self.library)
            product = {
                "a": source,
                "b": columns_of(grad, first, count),
                "c": columns_of(arguments["grad_weight"], first, count),
            }
            kernel.program(core_group, product)


def _views(shape: RecurrentShape, arrays: Mapping[str, Array], step: int) -> dict[str, Array]:
    """The stages' arrays at a step."""
    found = {name: array if array.ndim == 2 else array[step] for name, array in arrays.items() if name != "hidden"}
    hidden = arrays["hidden"]
    return {**found, "hidden": hidden[shape.before(step)], "new_hidden": hidden[shape.after(step)]}


def _planes(shape: RecurrentShape, arguments: Arguments, step: int) -> Arguments:
    """The same of a core group's arguments."""
    found = {
        name: array if len(array.shape) == 2 else plane(array, step)
        for name, array in arguments.items()
        if name != "hidden"
    }
    hidden = arguments["hidden"]
    return {**found, "hidden": plane(hidden, shape.before(step)), "new_hidden": plane(hidden, shape.after(step))}
