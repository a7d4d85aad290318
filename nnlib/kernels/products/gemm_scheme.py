"""How a library multiplies matrices: instruction schedule, precision inside the LDM, what overlaps, block sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from nnlib.kernels.generations import GENERATIONS, Library
from sim.machine.spec import MeshSpec, ProcessorSpec

Overlap: TypeAlias = Literal["nothing", "depth", "everything"]
Fp32: TypeAlias = Literal["direct", "operands", "all"]


@dataclass(frozen=True)
class GemmPlan:
    """Elements of a CPE's part of the C tile (m × n) and of the k-range loaded at a time."""

    m: int
    n: int
    k: int


@dataclass(frozen=True, kw_only=True)
class GemmScheme:
    """What all GEMMs of a library have in common.

    ``library``: whose k-steps it has. ``schedule``: of the micro-kernel.
    ``overlap``: ``nothing``: one buffer each; ``depth``: the next k-range of a C tile comes under the compute, C tiles
    follow one another; ``everything``: the next tile's operands and the last tile's C too.
    ``fp32``: ``direct``: the micro-kernel loads, converts and broadcasts by separate instructions (TACO18 §3.7);
    ``operands``: A and B are turned into fp64 in the LDM first; ``all``: C as well, on its way in and out
    ("float2double", SWCAFFE §IV.A).
    ``multiples``: of a CPE's part of a tile; None: powers of two and the whole length.
    ``reads_ahead``: where everything overlaps, so does getting the C tile that the next product is added to, into a
    third buffer.
    """

    library: Library
    schedule: str
    overlap: Overlap
    fp32: Fp32
    multiples: GemmPlan | None = None
    reads_ahead: bool = False

    def on(self, mesh: MeshSpec) -> GemmScheme:
        """The scheme on a mesh: with remote access nothing is converted, as any format can be loaded there."""
        return self if mesh.remote is None or self.fp32 == "direct" else replace(self, fp32="direct")

    def k_step_residual(self, processor: ProcessorSpec) -> float:
        """Cycles of a k-step that no mechanism explains."""
        return GENERATIONS[self.library].k_step_residual(processor)


REGISTER_BLOCK: Final = GemmPlan(m=4, n=16, k=1)
"""M a multiple of 32, N of 128, K of 8 on the whole mesh (R-swGEMM, THESIS); the names of M and N are exchanged."""


def _scheme(library: Library, *, overlap: Overlap, fp32: Fp32) -> GemmScheme:
    return GemmScheme(library=library, schedule=GENERATIONS[library].schedule, overlap=overlap, fp32=fp32)


SCHEMES: Final[Mapping[Library, GemmScheme]] = {
    scheme.library: scheme
    for scheme in (
        _scheme("naive", overlap="nothing", fp32="direct"),
        _scheme("swdnn-2016", overlap="depth", fp32="direct"),
        _scheme("swdnn-2017", overlap="depth", fp32="direct"),
        _scheme("swcaffe-2018", overlap="depth", fp32="all"),
        _scheme("autotuned-2019", overlap="everything", fp32="operands"),
    )
}
"""The scheme of each generation.

``autotuned-2019`` overlaps all that two buffers allow, for a layer overwrites C. The published library of that year
did less, see SWGEMM_CONVERTED and SWGEMM_DIRECT.
"""

SWGEMM_CONVERTED: Final = GemmScheme(
    library="autotuned-2019", schedule="autotuned-2019", overlap="depth", fp32="all", multiples=REGISTER_BLOCK
)
"""swGEMM as THESIS measures it over shapes: 16 cycles per k-step, all three operands converted, C tiles in sequence.

Its GFLOPS fit ``K·a + b`` per element of C: a is below what 25 cycles per k-step would take, b beyond C's DMA.
"""

SWGEMM_DIRECT: Final = GemmScheme(
    library="autotuned-2019", schedule="swdnn-2016", overlap="depth", fp32="direct", multiples=REGISTER_BLOCK
)
"""swGEMM as THESIS measures it over blockings: its best, too, take 26 cycles per k-step whatever M is.

That is the fp32 micro-kernel of 25 cycles (TACO18 §3.7); a conversion would cost more the smaller M is.
"""

UPDATE: Final = replace(SCHEMES["autotuned-2019"], reads_ahead=True)
"""Products added to a large matrix that stays in memory, as the updates of an LU factorisation are."""
