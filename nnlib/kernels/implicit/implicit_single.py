"""Implicit convolution of the first swDNN release in swCaffe: one buffer for each operand, nothing overlaps.

Pixels are matrices of channels × batch (:mod:`nnlib.kernels.implicit.pixel_major`). The sums of some pixels of a row
stay in the LDM; each source pixel comes once for a row of taps, the weights of a tap come anew for every product
(R-swDNN1 ``sw_conv_implicit.c``: room for one source pixel, one tap's weights and the sums, all as doubles). fp32 is
turned into fp64 and back element by element, in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.generations import GENERATIONS, Library
from nnlib.kernels.implicit import pixel_major
from nnlib.kernels.implicit.single_buffer import FP64, Matrix, Sums
from nnlib.kernels.kernel import Arguments, InfeasiblePlan, Parameter, UnsuitablePlan
from nnlib.precision import DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

LDM_BUDGET: Final = 60 * 1024
"""Bytes of the LDM that the library gives to tiles (R-swDNN1)."""


@dataclass(frozen=True, kw_only=True)
class SingleBuffered:
    """A pass of a convolution of stride 1 without groups, on pixel-major arrays."""

    convolution: Convolution
    dtype: DTypeName
    which: Pass = "forward"
    library: Library = "swcaffe-2018"

    @property
    def name(self) -> str:
        return f"conv2d_{self.which}_single_buffered"

    def parameters(self) -> tuple[Parameter, ...]:
        """Two inputs and the output."""
        return pixel_major.parameters(self.convolution, self.which)

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The pass by whole arrays."""
        pixel_major.reference(self.convolution, self.which, arrays)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises UnsuitablePlan for strides and groups, InfeasiblePlan if the LDM is too small."""
        if self.convolution.stride != 1 or self.convolution.groups != 1:
            raise UnsuitablePlan(kernel=self.name, reason="it has neither strides nor groups")
        if self.which == "weight_gradient":
            _WeightProgram(self, core_group, arguments).run()
        else:
            _PixelProgram(self, core_group, arguments).run()


def held_pixels(kernel: SingleBuffered, processor: ProcessorSpec) -> int:
    """Target pixels whose sums the LDM holds; one matrix of sums in the weight gradient. Raises InfeasiblePlan."""
    convolution, (rows, columns) = kernel.convolution, (processor.mesh.rows, processor.mesh.columns)
    no, ni = -(-convolution.no // rows), -(-convolution.ni // columns)
    batch = -(-convolution.batch // columns)
    source, target = (no, ni) if kernel.which == "input_gradient" else (ni, no)
    if kernel.which == "weight_gradient":
        sums, others, most = no * ni, (no * batch, ni * batch), 1
    else:
        sums, others = target * batch, (source * batch, no * ni)
        most = convolution.ci if kernel.which == "input_gradient" else convolution.co
    budget = min(LDM_BUDGET, processor.cpe.ldm_bytes)
    taken = sum(aligned(FP64.itemsize * each) for each in others)
    held = min(most, (budget - taken) // aligned(FP64.itemsize * sums))
    if held < 1:
        raise InfeasiblePlan(kernel=kernel.name, needed=taken + aligned(FP64.itemsize * sums), available=budget)
    return held


class _Program:
    """What both programs have."""

    def __init__(self, kernel: SingleBuffered, core_group: CoreGroup, arguments: Arguments) -> None:
        self.core_group, self.convolution, self.arguments = core_group, kernel.convolution, arguments
        self.held = held_pixels(kernel, core_group.processor)
        generation = GENERATIONS[kernel.library]
        self.schedule = generation.schedule
        self.residual = generation.k_step_residual(core_group.timed)

    def offset(self, tap: int) -> int:
        """From an output pixel to the input pixel that a tap meets."""
        return tap * self.convolution.dilation - self.convolution.padding

    def multiply(self, sums: Sums, a: Matrix, b: Matrix) -> None:
        convolution = self.convolution
        self.core_group.mesh_gemm(
            "gemm",
            c=sums.tile,
            a=a.wide,
            b=b.wide,
            transpose_a=a.swapped,
            flops=2 * convolution.batch * convolution.ni * convolution.no,
            schedule=self.schedule,
            k_step_residual=self.residual,
        )


class _PixelProgram(_Program):
    """Forward, or the input gradient with the images' roles exchanged."""

    def __init__(self, kernel: SingleBuffered, core_group: CoreGroup, arguments: Arguments) -> None:
        super().__init__(kernel, core_group, arguments)
        backward = kernel.which == "input_gradient"
        self.sign = -1 if backward else 1
        source, target = ("grad_y", "grad_x") if backward else ("x", "y")
        self.weight = Matrix(core_group, "weight", arguments["weight"], swapped=backward)
        self.source = Matrix(core_group, source, arguments[source])
        self.sums = [Sums(core_group, f"sums{i}", arguments[target]) for i in range(self.held)]
        self.source_rows, self.source_columns = arguments[source].shape[:2]
        self.rows, self.columns = arguments[target].shape[:2]

    def run(self) -> None:
        """Row after row, block of columns after block. Those that repeat meet all taps and are cut by no edge."""
        convolution, loop = self.convolution, self.core_group.loop
        blocks = -(-self.columns // self.held)
        inner_rows = self.inner(convolution.kr, self.source_rows, self.rows)
        inner_columns = self.inner(convolution.kc, self.source_columns, self.columns)
        first = -(-inner_columns.start // self.held)
        last = inner_columns.stop // self.held
        for row in loop("rows", self.rows, steady=inner_rows):
            for block in loop("columns", blocks, steady=range(first, max(first, last))):
                self.compute(row, range(block * self.held, min((block + 1) * self.held, self.columns)))
        self.weight.free()
        self.source.free()
        for each in self.sums:
            each.free()

    def shift(self, tap: int) -> int:
        """From a target pixel to the source pixel that a tap brings to it."""
        return self.sign * self.offset(tap)

    def inner(self, taps: int, sources: int, targets: int) -> range:
        """The targets all of whose sources are inside."""
        shifts = [self.shift(tap) for tap in range(taps)]
        first = max(0, -min(shifts))
        return range(first, max(first, min(targets, sources - max(0, max(shifts)))))

    def compute(self, row: int, columns: range) -> None:
        """The sums of a row's ``columns``, and their way to memory."""
        convolution = self.convolution
        for sums in self.sums[: len(columns)]:
            sums.clear()
        shifts = [self.shift(tap) for tap in range(convolution.kc)]
        sources = range(max(0, columns.start + min(shifts)), min(self.source_columns, columns.stop + max(shifts)))
        for kernel_row in range(convolution.kr):
            source_row = row + self.shift(kernel_row)
            if not 0 <= source_row < self.source_rows:
                continue
            # all but the first and the last ones meet all taps
            edge = max(shifts) - min(shifts)
            for number in self.core_group.loop("pixels", len(sources), steady=range(edge, len(sources) - edge)):
                source = sources[number]
                taps = [tap for tap, shift in enumerate(shifts) if source - shift in columns]
                if taps:
                    self.source.load((source_row, source))
                for tap in taps:
                    self.weight.load((kernel_row, tap))
                    self.multiply(self.sums[source - shifts[tap] - columns.start], self.weight, self.source)
        for sums, column in zip(self.sums, columns, strict=False):
            sums.store((row, column))


class _WeightProgram(_Program):
    """The weight gradient: the sums of a tap stay in the LDM while all pixels come."""

    def __init__(self, kernel: SingleBuffered, core_group: CoreGroup, arguments: Arguments) -> None:
        super().__init__(kernel, core_group, arguments)
        self.grad_y = Matrix(core_group, "grad_y", arguments["grad_y"])
        # vectors must lie along the input channels: the conversion turns x on its way
        self.x = Matrix(core_group, "x", arguments["x"], turned=True)
        self.sums = Sums(core_group, "sums", arguments["grad_weight"])

    def run(self) -> None:
        """Tap after tap."""
        convolution, loop = self.convolution, self.core_group.loop
        for kernel_row in range(convolution.kr):
            for kernel_column in range(convolution.kc):
                self.sums.clear()
                rows = self.met(kernel_row, convolution.ro, convolution.ri)
                columns = self.met(kernel_column, convolution.co, convolution.ci)
                for i in loop("rows", len(rows), steady=range(len(rows))):
                    for j in loop("columns", len(columns), steady=range(len(columns))):
                        row, column = rows[i], columns[j]
                        self.grad_y.load((row, column))
                        self.x.load((row + self.offset(kernel_row), column + self.offset(kernel_column)))
                        self.multiply(self.sums, self.grad_y, self.x)
                self.sums.store((kernel_row, kernel_column))
        self.grad_y.free()
        self.x.free()
        self.sums.free()

    def met(self, tap: int, outputs: int, inputs: int) -> range:
        """Output pixels for which the tap meets a pixel of the image."""
        offset = self.offset(tap)
        first = max(0, -offset)
        return range(first, max(first, min(outputs, inputs - offset)))
