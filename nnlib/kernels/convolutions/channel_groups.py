"""Grouped convolutions by plans that know no groups: each group's channels are copied out, and its results back.

Channels lie last, so that a group is a block of columns of a matrix and a plan for one group needs a matrix of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.passes import pass_parameters
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.launch import Launch
from nnlib.kernels.streaming import column_blocks, plan_rows, stream
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array, Shape
from sim.chip.pipeline.streaming import Body

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True, kw_only=True)
class CopyColumns:
    """Copy ``columns`` columns of a matrix of ``rows`` rows, from ``source_first`` on to ``target_first`` on."""

    rows: int
    columns: int
    source_columns: int
    target_columns: int
    dtype: DTypeName
    source_first: int = 0
    target_first: int = 0

    @property
    def name(self) -> str:
        return "copy_columns"

    def parameters(self) -> tuple[Parameter, ...]:
        whole = self.columns == self.target_columns
        return (
            Parameter("source", (self.rows, self.source_columns), "in"),
            Parameter("target", (self.rows, self.target_columns), "out" if whole else "inout"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The copy."""
        source = arrays["source"][:, self.source_first : self.source_first + self.columns]
        arrays["target"][:, self.target_first : self.target_first + self.columns] = source

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program: rows, double-buffered, in blocks of columns where they are too long."""
        item = DTYPES[self.dtype].itemsize
        for block in column_blocks(
            self.columns,
            needed=lambda width: 4 * aligned(width * item),
            kernel=self.name,
            processor=core_group.processor,
        ):
            rows = plan_rows(
                kernel=self.name,
                rows=self.rows,
                row_bytes=[len(block) * item] * 2,
                resident=0,
                processor=core_group.processor,
            )
            source = range(self.source_first + block.start, self.source_first + block.stop)
            target = range(self.target_first + block.start, self.target_first + block.stop)
            stream(
                core_group,
                self.name,
                iterations=rows.iterations,
                whole=rows.whole,
                inputs=[rows.operand(arguments["source"], columns=source)],
                outputs=[rows.operand(arguments["target"], columns=target)],
                cycles=rows.cycles(Body(loads=1, stores=1), core_group.cpe, row_elements=len(block)),
                run=_copy,
            )


def _copy(ins: Sequence[Array], outs: Sequence[Array]) -> None:
    outs[0][...] = ins[0]


def per_group(
    convolution: Convolution,
    which: Pass,
    *,
    dtype: DTypeName,
    plan: Callable[[Convolution], tuple[Launch, ...]],
) -> tuple[Launch, ...]:
    """``plan`` of each group between copies of its inputs and of its output."""
    one = replace(convolution, ni=convolution.group_ni, no=convolution.group_no, groups=1)
    whole_shapes, shapes = _shapes(convolution, which), _shapes(one, which)
    *inputs, output = shapes
    launches: list[Launch] = []
    for group in range(convolution.groups):

        def copy(name: str, *, out: bool, group: int = group) -> Launch:
            """Between an array of all groups and the group's own of that name."""
            whole, own = whole_shapes[name], shapes[name]
            # weights of a group have its own input channels only, beside all output channels
            rows, columns = prod(own[:-1]), own[-1]
            at = group * columns
            kernel = CopyColumns(
                rows=rows,
                columns=columns,
                source_columns=columns if out else whole[-1],
                target_columns=whole[-1] if out else columns,
                source_first=0 if out else at,
                target_first=at if out else 0,
                dtype=dtype,
            )
            names = f"group_{name}", name
            source, target = names if out else names[::-1]
            return Launch.of(kernel, source=source, target=target)

        launches += [copy(name, out=False) for name in inputs]
        for launch in plan(one):
            arrays = {
                parameter: f"group_{name}" if name in shapes else name for parameter, name in launch.arrays.items()
            }
            launches.append(Launch(kernel=launch.kernel, arrays=arrays))
        launches.append(copy(output, out=True))
    return tuple(launches)


def _shapes(convolution: Convolution, which: Pass) -> dict[str, Shape]:
    """The arrays of a pass, the output last."""
    x, weight, y = convolution.x_shape, convolution.weight_shape, convolution.y_shape
    parameters = pass_parameters(which, x=x, weight=weight, y=y)
    return {parameter.name: parameter.shape for parameter in parameters}
