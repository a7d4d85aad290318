"""Local response normalisation across channels, forward and gradient, over (rows, channels)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import Operand, Rows, Run, column_blocks, plan_rows, stream
from nnlib.ops.local_response import local_response_norm_backward, local_response_norm_forward, reach, window_sums
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body
from sim.chip.tile import Split

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

POWER: Final = 2
"""A power is a logarithm and an exponential."""


@dataclass(frozen=True)
class ResponseWindow:
    """``s = k + alpha/size·Σ x²`` over ``size`` channels around each; ``y = x·s^(−beta)``."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    @property
    def reach(self) -> tuple[int, int]:
        """How many channels below and above the window reaches."""
        return reach(self.size)


@dataclass(frozen=True)
class LocalResponseNormalisation:
    """``y = x·s^(−beta)`` for each number of ``x`` (rows, channels), ``s`` from the channels in its window."""

    rows: int
    channels: int
    window: ResponseWindow
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "local_response_normalisation"

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.rows, self.channels)
        return Parameter("x", shape, "in"), Parameter("y", shape, "out")

    def reference(self, arrays: Mapping[str, Array]) -> None:
        window = self.window
        arrays["y"][...], _ = local_response_norm_forward(
            arrays["x"], size=window.size, alpha=window.alpha, beta=window.beta, k=window.k
        )

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        window = self.window
        body = Body(loads=1 + window.size, stores=1, arithmetic=3 + window.size, exponentials=POWER)
        for part in _parts(self, core_group, inputs=1, below=window.reach[0], above=window.reach[1]):

            def run(ins: Sequence[Array], outs: Sequence[Array], part: _Part = part) -> None:
                x = ins[0]
                outs[0][...] = part.own(x * _powers(_scales(x, window), window))

            part.stream(
                core_group,
                self.name,
                inputs=[arguments["x"]],
                output=arguments["y"],
                body=body,
                run=run,
                flops=self.rows * len(part.columns) * (window.size + 5),
            )


@dataclass(frozen=True)
class LocalResponseNormalisationGradient:
    """``grad_x = grad_y·s^(−beta) − 2·alpha·beta/size·x·Σ grad_y·y/s`` over the channels whose window sees it."""

    rows: int
    channels: int
    window: ResponseWindow
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "local_response_normalisation_gradient"

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.rows, self.channels)
        return Parameter("grad_y", shape, "in"), Parameter("x", shape, "in"), Parameter("grad_x", shape, "out")

    def reference(self, arrays: Mapping[str, Array]) -> None:
        window = self.window
        _, scale = local_response_norm_forward(
            arrays["x"], size=window.size, alpha=window.alpha, beta=window.beta, k=window.k
        )
        arrays["grad_x"][...] = local_response_norm_backward(
            arrays["grad_y"], arrays["x"], scale, size=window.size, alpha=window.alpha, beta=window.beta
        )

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        window = self.window
        # its own window, and the windows of those that see it
        around = window.size - 1
        body = Body(loads=2 + 2 * window.size, stores=2, arithmetic=7 + 2 * window.size, divides=1, exponentials=POWER)
        for part in _parts(self, core_group, inputs=2, below=around, above=around):

            def run(ins: Sequence[Array], outs: Sequence[Array], part: _Part = part) -> None:
                grad, x = ins
                scale = _scales(x, window)
                slope = grad * _powers(scale, window)
                below, above = window.reach
                seen = window_sums(slope * x / scale, above, below)
                factor = x.dtype.type(2 * window.alpha * window.beta / window.size)
                outs[0][...] = part.own(slope - factor * x * seen)

            part.stream(
                core_group,
                self.name,
                inputs=[arguments["grad_y"], arguments["x"]],
                output=arguments["grad_x"],
                body=body,
                run=run,
                flops=self.rows * len(part.columns) * (2 * window.size + 10),
            )


@dataclass(frozen=True)
class _Part:
    """A block of ``columns`` of all ``rows``, which comes with ``below`` and ``above`` columns around it."""

    rows: Rows
    columns: range
    below: int
    above: int

    def own(self, values: Array) -> Array:
        """The block's own columns of what came."""
        return values[:, self.below : self.below + len(self.columns)]

    def stream(
        self,
        core_group: CoreGroup,
        label: str,
        *,
        inputs: Sequence[MemoryArray],
        output: MemoryArray,
        body: Body,
        run: Run,
        flops: int,
    ) -> None:
        """Get, compute, put."""
        width = self.below + len(self.columns) + self.above
        stream(
            core_group,
            label,
            iterations=self.rows.iterations,
            whole=self.rows.whole,
            inputs=[self.operand(array) for array in inputs],
            outputs=[self.rows.operand(output, columns=self.columns)],
            cycles=self.rows.cycles(body, core_group.cpe, row_elements=width),
            run=run,
            flops=flops,
        )

    def operand(self, array: MemoryArray) -> Operand:
        """The block with what lies around it; zeros beyond the ends."""
        first, of_all = self.columns.start - self.below, self.rows.per_cpe * self.rows.cpes
        return Operand(
            array=array,
            size=(self.rows.per_cpe, self.below + len(self.columns) + self.above),
            start=lambda i: (i * of_all, first),
            split=Split(rows=0, columns=0),
        )


def _parts(
    kernel: LocalResponseNormalisation | LocalResponseNormalisationGradient,
    core_group: CoreGroup,
    *,
    inputs: int,
    below: int,
    above: int,
) -> list[_Part]:
    """All columns at once if a row fits the LDM, else blocks that overlap. Raises InfeasiblePlan."""
    item, processor = DTYPES[kernel.dtype].itemsize, core_group.processor

    def needed(width: int) -> int:
        around = 0 if width == kernel.channels else below + above
        return 2 * (inputs * aligned((width + around) * item) + aligned(width * item))

    blocks = column_blocks(kernel.channels, needed=needed, kernel=kernel.name, processor=processor)
    before, behind = (below, above) if len(blocks) > 1 else (0, 0)
    parts = []
    for columns in blocks:
        came = (before + len(columns) + behind) * item
        rows = plan_rows(
            kernel=kernel.name,
            rows=kernel.rows,
            row_bytes=[came] * inputs + [len(columns) * item],
            resident=0,
            processor=processor,
        )
        parts.append(_Part(rows, columns, before, behind))
    return parts


def _scales(x: Array, window: ResponseWindow) -> Array:
    """``s`` of each number."""
    share, k = (x.dtype.type(each) for each in (window.alpha / window.size, window.k))
    found: Array = window_sums(x * x, *window.reach) * share + k
    return found


def _powers(scale: Array, window: ResponseWindow) -> Array:
    """``s^(−beta)``."""
    found: Array = np.power(scale, scale.dtype.type(-window.beta))
    return found
