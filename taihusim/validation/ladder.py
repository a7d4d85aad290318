"""Predicts ``conv_optimisation_ladder_fp64``: one convolution, mechanisms of the machine switched on one by one.

TACO18 names its rungs and prints neither shape nor loops. Here the first three are the convolution by matrix
multiplication on CPEs that share nothing: scalar as a compiler makes it, then by vectors, then with two buffers of
each operand in the LDM, so that transfers run under products. The others share their operands by register
communication, in register blocks: the batch-size-aware plan with the micro-kernel of C, of the assembler, and on four
core groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nnlib.kernels.convolutions.convolution import Convolution
from nnlib.kernels.convolutions.dma_convolution import DmaConvolution
from nnlib.kernels.generations import Library
from nnlib.kernels.implicit.implicit_batch import BatchSizeAware
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.simulation import simulate
from sim.chip.memory import MemoryUse, Mode
from sim.chip.processor import total_seconds
from sim.machine.spec import MachineSpec, ProcessorSpec
from taihusim.validation.inputs import Inputs, Unpredictable, text

LIBRARY: Final[Library] = "swcaffe-2018"
"""The library of TACO18 is newer than that of SWDNN17, whatever the table calls it."""
ROWS, COLUMNS, BATCH, CHANNELS, K = 64, 64, 128, 128, 3
"""No shape is printed; that of the project's notes on the table."""
BASE_OFFSET: Final = 0
"""Nothing is said of it; the authors advise 128 B for best DMA (SWDNN17)."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What is switched on, one after the other. ``schedule``: the micro-kernel's, None for the library's own."""

    vectorised: bool = True
    ldm_blocked: bool = True
    register_blocked: bool = True
    schedule: str | None = None
    core_groups: int = 1

    def kernel(self, *, rows: int = ROWS) -> Kernel:
        """What a core group launches for ``rows`` output rows of all."""
        share = rows // self.core_groups
        convolution = Convolution(
            batch=BATCH, ni=CHANNELS, no=CHANNELS, ri=share + K - 1, ci=COLUMNS + K - 1, kr=K, kc=K
        )
        if self.register_blocked:
            return BatchSizeAware(
                convolution=convolution, which="forward", dtype="fp64", library=LIBRARY, schedule=self.schedule
            )
        return DmaConvolution(
            convolution=convolution,
            which="forward",
            dtype="fp64",
            vectorised=self.vectorised,
            overlapped=self.ldm_blocked,
        )

    def gflops(self, processor: ProcessorSpec, *, rows: int = ROWS) -> float:
        """Of a launch on all core groups of the rung, in one timing with its spawn and join."""
        mode: Mode = "shared" if self.core_groups > 1 else "private"
        memory = MemoryUse(mode=mode, active=self.core_groups, base_offset=BASE_OFFSET)
        timing = simulate(self.kernel(rows=rows), processor=processor, memory=memory)
        return self.core_groups * timing.flops / total_seconds([timing], processor) / 1e9


RUNGS: Final[Mapping[str, Rung]] = {
    "basic Alg.2 1 CG": Rung(vectorised=False, ldm_blocked=False, register_blocked=False),
    "+vectorisation": Rung(ldm_blocked=False, register_blocked=False),
    "+LDM": Rung(register_blocked=False),
    "+register comm/blocking": Rung(schedule="compiler-macros"),
    "+instruction scheduling": Rung(),
    "+4 CG": Rung(core_groups=4),
}
"""By the words of the table."""


def ladder(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of a step of the ladder."""
    step = text(inputs, "step")
    rung = RUNGS.get(step)
    if rung is None:
        raise Unpredictable(f"step {step!r} is none of {', '.join(RUNGS)}")
    return rung.gflops(machine.processor)
