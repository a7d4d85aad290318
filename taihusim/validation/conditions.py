"""Under which conditions the DMA tables were measured, as far as the tables do not say: stated once, with sources.

The tables contradict one another: an isolated block of 128 B costs 4.8 ns in one, 7.3, 9.1 and 13 ns in others. No
single set of numbers serves all, so what differs from the machine file is a condition of the measurement and not
hidden in the machine. Almost all of these numbers are fitted to the very table that they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from nnlib.kernels.generations import GENERATIONS, Library
from sim.chip.memory import MemoryUse
from sim.machine.spec import ProcessorSpec

CLEAN: Final = "nothing is said of it; the simplest case"


@dataclass(frozen=True)
class Stated:
    """A number and where it comes from."""

    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How one table was measured.

    ``layout``: where the blocks of different CPEs lie. ``memory_mode``: what is known of the job's. ``base_bytes``:
    the arrays' first address past a line. ``skew_seconds``: from one CPE's start to the next one's.
    ``launch_seconds``: spawn and join, if timed with the rest. ``repeats``: steps of the timed loop.
    ``cycles_per_element``: compute. ``dma``: fields of DmaSpec that differ from the machine file; ``puts`` and
    ``strided_puts``: further ones for such rows.
    """

    layout: str
    memory_mode: str = "not stated"
    base_bytes: Stated = field(default=Stated(0, CLEAN))
    skew_seconds: Stated = field(default=Stated(0.0, CLEAN))
    launch_seconds: Stated = field(default=Stated(0.0, "not in the measured time"))
    repeats: Stated = field(default=Stated(1, CLEAN))
    cycles_per_element: Stated = field(default=Stated(0.0, "no arithmetic to speak of"))
    dma: Mapping[str, Stated] = field(default_factory=dict)
    puts: Mapping[str, Stated] = field(default_factory=dict)
    strided_puts: Mapping[str, Stated] = field(default_factory=dict)

    def processor(self, base: ProcessorSpec, *, put: bool = False, strided: bool = False) -> ProcessorSpec:
        """The machine's chip with the DMA engine of this measurement."""
        stated = {**self.dma, **(self.puts if put else {}), **(self.strided_puts if put and strided else {})}
        changed: dict[str, Any] = {name: each.value for name, each in stated.items()}
        return replace(base, dma=replace(base.dma, **changed))


STRIDED_ALIGNMENT: Final = Conditions(
    layout="the blocks of neighbouring CPEs fill one another's gaps, as the columns of a matrix",
    dma={
        "line_seconds": Stated(4.58e-9, "THESIS figure 3.7: 27.9 GB/s at 2 KB; the printed peak of 30.94 does not fit"),
        "request_seconds": Stated(0.0, "THESIS equation 3-1 has none"),
    },
)

_APART: Final = "each CPE's blocks lie by themselves, none in a line or beside a line of another's"
GRID: Final = Conditions(
    layout=f"{_APART}; fewer than 64 CPEs are the first columns of the mesh",
    skew_seconds=Stated(65e-9, "SWCAFFE figure 2: small transfers of all CPEs take 4.4 us, of one CPE 0.39 us"),
    dma={
        "line_seconds": Stated(4.8e-9, "SWCAFFE figure 2: 26.6 GB/s from 16 KB on"),
        "request_seconds": Stated(0.0, "one request per CPE; not to be told from the skew"),
        "block_seconds": Stated(0.0, "SWCAFFE figure 2: blocks of 256 B reach the full rate"),
        "block_minimum_seconds": Stated(9.05e-9, "SWCAFFE figure 2: any block up to 128 B"),
        "startup_cycles": Stated(490, "SWCAFFE figure 2: one CPE alone, 128 B, with the issue"),
    },
    strided_puts={
        "quarter_bytes_per_second": Stated(11.5e9, "SWCAFFE figure 2: strided puts of 8 and 16 CPEs"),
        "half_bytes_per_second": Stated(21.5e9, "SWCAFFE figure 2: strided puts of 32 CPEs"),
    },
)

BLOCK_SIZE: Final = Conditions(
    layout=_APART,
    dma={
        "line_seconds": Stated(3.85e-9, "SWDNN17 table II: gets of 4096 B"),
        "block_seconds": Stated(3.4e-9, "SWDNN17 table II: gets of 128 B"),
        "request_seconds": Stated(0.0, "long requests; not to be seen"),
    },
    puts={
        "line_seconds": Stated(3.42e-9, "SWDNN17 table II: puts of 4096 B, above any peak of the memory in print"),
        "block_seconds": Stated(3.2e-9, "SWDNN17 table II: puts of 128 B"),
        "partial_put_block_seconds": Stated(5.8e-9, "SWDNN17 table II: puts of 32 B"),
    },
)

STREAM: Final = Conditions(
    layout="step after step over one array, CPE after CPE",
    memory_mode="not stated; puts are slow here and nowhere else",
    dma={
        "line_seconds": Stated(4.35e-9, "[fitted] R-swCandle, all rows: triad less copy, large blocks"),
        "request_seconds": Stated(6.0e-9, "[fitted] R-swCandle, all rows: triad less copy, contiguous"),
        "block_seconds": Stated(6.0e-9, "[fitted] R-swCandle, all rows: triad less copy, strided"),
        "put_granule_bytes": Stated(
            32, "[fitted] R-swCandle, all rows: puts of 16 and 32 B cost less than of a line; a vector's bytes"
        ),
        "put_line_extra_seconds": Stated(3.75e-9, "[fitted] R-swCandle, all rows: copy, large blocks"),
        "put_request_extra_seconds": Stated(48.5e-9, "[fitted] R-swCandle, all rows: copy, contiguous"),
        "put_block_extra_seconds": Stated(23.5e-9, "[fitted] R-swCandle, all rows: copy, strided"),
        "partial_put_block_seconds": Stated(0.0, "[fitted] R-swCandle, all rows: small puts cost less here, not more"),
    },
)

COMPUTE_OVERLAP: Final = Conditions(
    layout="step after step over arrays A, B and C, CPE after CPE; A and B together have the bytes of the row",
    launch_seconds=Stated(22e-6, "THESIS figure 3.6: what the compute bars keep at 0 B"),
    repeats=Stated(100, "[fitted] THESIS figure 3.6: best of 80, 100, 120, 150, 200 and 300 over all its bars"),
    cycles_per_element=Stated(72.6, "THESIS figure 3.6: the compute bars"),
    dma={
        "line_seconds": Stated(4.75e-9, "THESIS figure 3.6: DMA alone"),
        "request_seconds": Stated(12e-9, "THESIS figure 3.6: DMA alone, small steps"),
    },
)


@dataclass(frozen=True, kw_only=True)
class ConvolutionRun:
    """How a table of convolutions on all core groups was measured.

    ``base_bytes``: the arrays' first address past a line. ``padding``: of the layers, where the table has none.
    ``whole_tiles``: 1 if odd sizes were computed, and counted, as the next even ones. ``overlapped``: 1 if the
    transfers of the products' tiles run under their compute.
    """

    base_bytes: Stated = field(default=Stated(0, CLEAN))
    padding: Stated = field(default=Stated(1, CLEAN))
    whole_tiles: Stated = field(default=Stated(0, CLEAN))
    overlapped: Stated = field(default=Stated(1, CLEAN))


WINOGRAD: Final = ConvolutionRun(
    base_bytes=Stated(0, "planes are the library's own work space; it would align them"),
    padding=Stated(1, "THESIS: layers of AlexNet and VGG16, whose 3 x 3 convolutions keep the size of the image"),
    whole_tiles=Stated(
        1, "THESIS: 7 x 7 and 28 x 28 pixels of 512 channels reach the same rate within 0.1 %, so tiles were counted"
    ),
    overlapped=Stated(0, "as in swGEMM, whose C tiles follow one another; here all of K comes at once for each"),
)

EXPLICIT: Final = ConvolutionRun(
    base_bytes=Stated(0, "columns are the library's own work space; it would align them"),
)

SWDNN17: Final = ConvolutionRun(
    base_bytes=Stated(
        GENERATIONS["swdnn-2017"].memory.base_offset,
        "not stated; what a large malloc returns, as in the jobs of 2016 (R-swDNN)",
    ),
    padding=Stated(0, "SWDNN17: output sizes are given, Ri = Ro + K - 1 as in R-swDNN"),
)

TACO18: Final = ConvolutionRun(
    base_bytes=Stated(0, "not stated; by then 128 B are advised for best DMA (SWCAFFE)"),
    padding=Stated(0, "TACO18: output sizes are given"),
)

HAND_FP32: Final = ConvolutionRun(
    base_bytes=TACO18.base_bytes,
    padding=Stated(1, "THESIS: layers of VGG16 keep the size of the image"),
)

AUTOTUNED: Final = ConvolutionRun(
    base_bytes=TACO18.base_bytes,
    padding=Stated(1, "not stated; a size is given for the image, taken to be kept"),
)


@dataclass(frozen=True, kw_only=True)
class Launches:
    """How convolutions were launched and timed.

    ``core_groups`` share out the output rows, in memory as ``library`` uses it.
    """

    core_groups: int
    library: Library

    @property
    def memory(self) -> MemoryUse:
        """How the job uses the memory."""
        return replace(GENERATIONS[self.library].memory, active=self.core_groups)


SWDNN_2016: Final = Launches(core_groups=4, library="swdnn-2016")
"""Images are moved at the full line rate, weights begin 32 B past a line: fitted to the rows with 16 output rows.

Of every 16 B from 0 to 112 but 80 that fits best; 96 gives the same, 16 nearly the same mean (1.7 %) and a larger
maximum (7.9 %), 0 a mean of 5.4 %.
"""


@dataclass(frozen=True, kw_only=True)
class LayerConditions:
    """How swCaffe's log of October 2017 timed its layers. ``base_bytes``: Caffe's arrays begin so far past a line.

    What else its layers are is the library's: :mod:`nnlib.kernels.swcaffe`. The paper's version has arrays on a line:
    by then 128 B are advised for best DMA (SWCAFFE).
    """

    base_bytes: Stated


SWCAFFE_LAYERS: Final = LayerConditions(
    base_bytes=Stated(16, "as a large malloc returns (R-swDNN); the implicit plan's own arrays begin at a line"),
)


@dataclass(frozen=True, kw_only=True)
class GemmRun:
    """How a table of products was measured.

    ``memory``: the conditions of its transfers. ``reads_c``: 1 if the product is added to C. ``tried``: blockings, best
    by estimate, of which the fastest counts. ``size``: M = N = K, where the table has none.
    """

    memory: Conditions
    reads_c: Stated
    tried: Stated = field(default=Stated(1, "the library's own choice"))
    size: Stated = field(default=Stated(0, "in the table"))


_THESIS_MEMORY: Final = replace(
    STRIDED_ALIGNMENT,
    layout="the blocks of neighbouring CPEs lie side by side, as the parts of a tile do",
    dma={**STRIDED_ALIGNMENT.dma, "block_seconds": Stated(0.0, "THESIS equation 3-1 has none")},
)
"""Figure 3.7's transfers: their time model (equation 3-1) is the one that the thesis plans its GEMMs with."""

GEMM_SHAPES: Final = GemmRun(
    memory=_THESIS_MEMORY,
    reads_c=Stated(
        1,
        "[derived] THESIS, M = N = 8000: K·3.81 ps + 0.50 ns per element of C, of which writing it alone takes 0.15 ns",
    ),
)

GEMM_BLOCKS: Final = GemmRun(
    memory=_THESIS_MEMORY,
    reads_c=Stated(1, "not stated, taken as over shapes; without it the mean error is 12 % instead of 7 %"),
    size=Stated(1024, "title of the sweep"),
)

GEMM_SKINNY: Final = GemmRun(
    memory=_THESIS_MEMORY,
    reads_c=Stated(
        0, "[derived] THESIS, M = 512, K = 32: 0.41 ns per element of C, 0.21 to compute it and 0.15 to write it"
    ),
    tried=Stated(4, "brute force in the source; estimates differ from the simulation by less than these do"),
)
