"""Launches of every kernel and plan over random shapes, on machines with so little LDM that loops have many turns."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import assume
from hypothesis import strategies as st

from nnlib.kernels.arranging.layout import Transpose
from nnlib.kernels.batched import Batched
from nnlib.kernels.convolutions.caffe_order import RowIm2col
from nnlib.kernels.convolutions.convolution import PASSES, Convolution
from nnlib.kernels.convolutions.direct import DirectConvolution
from nnlib.kernels.convolutions.dma_convolution import DmaConvolution
from nnlib.kernels.convolutions.explicit import explicit
from nnlib.kernels.convolutions.im2col import Col2im, Im2col
from nnlib.kernels.convolutions.plans import Task, build
from nnlib.kernels.generations import GENERATIONS, Library
from nnlib.kernels.implicit.implicit_single import SingleBuffered
from nnlib.kernels.kernel import InfeasiblePlan, Kernel, UnsuitablePlan
from nnlib.kernels.launch import Launch
from nnlib.kernels.pointwise.elementwise import BiasAdd, Elementwise, SumCopies
from nnlib.kernels.pointwise.prelu import Prelu, PreluGradient
from nnlib.kernels.pointwise.reparameterise import Reparameterise
from nnlib.kernels.pointwise.spread_shares import SpreadShares
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.reducing.pooling import MaxPool, MaxPoolGradient
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.kernels.rows.dice import DiceGradient, DiceSums
from nnlib.kernels.rows.row_loss import LOSSES, RowLoss
from nnlib.kernels.rows.row_softmax import RowSoftmax, RowSoftmaxGradient
from nnlib.kernels.rows.softmax import SoftmaxCrossEntropy
from nnlib.kernels.window import Window
from nnlib.kernels.winograd.winograd import winograd
from nnlib.kernels.winograd.winograd_tiles import Share
from sim.chip.memory import MemoryUse
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.cases import dtypes, functions

LIBRARIES = tuple(GENERATIONS)
ORDERS = ("channels-last", "channels-first")


@dataclass(frozen=True)
class Case:
    """A kernel on a machine with ``ldm`` bytes per CPE, in memory used so."""

    kernel: Kernel
    ldm: int
    memory: MemoryUse

    @property
    def processor(self) -> ProcessorSpec:
        return with_ldm(self.ldm)


def with_ldm(size: int) -> ProcessorSpec:
    processor = load_machine("sunway_taihulight").processor
    return replace(processor, cpe=replace(processor.cpe, ldm_bytes=size))


memories = st.builds(
    MemoryUse,
    mode=st.sampled_from(["private", "shared"]),
    active=st.sampled_from([1, 4]),
    base_offset=st.sampled_from([0, 0, 16, 64]),
    common_offset=st.sampled_from([None, 0, 16]),
)


def sizes(most: int, *, whole: int = 8) -> st.SearchStrategy[int]:
    """Up to ``most``; often multiples of ``whole``, with which addresses repeat their place in a memory line soon."""
    return st.one_of(st.integers(1, most), st.integers(1, most // whole).map(lambda number: number * whole))


@st.composite
def windows(draw: st.DrawFn, *, padded: bool = True) -> Window:
    """Any shape, or many images of powers of two, of which CPEs get the same parts turn after turn."""
    if draw(st.booleans()):
        same, length = padded and draw(st.booleans()), st.sampled_from([4, 8, 16])
        kernel, stride, padding = ((3, 3), 1, 1) if same else ((2, 2), 2, 0)
        return Window(
            draw(st.integers(60, 160)), draw(length), draw(length), draw(length), kernel, stride=stride, padding=padding
        )
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    return Window(
        batch=draw(st.integers(1, 60)),
        height=draw(st.integers(kernel[0], 16)),
        width=draw(st.integers(kernel[1], 16)),
        channels=draw(st.integers(1, 32)),
        kernel=kernel,
        stride=draw(st.integers(1, 3)),
        padding=draw(st.integers(0, min(kernel) - 1)) if padded else 0,
    )


turns = st.one_of(st.integers(1, 9999), st.integers(10_000, 30_000))
streaming: st.SearchStrategy[Kernel] = st.one_of(
    st.builds(Elementwise, function=functions, elements=st.integers(1, 150_000), dtype=dtypes),
    st.builds(SumCopies, count=st.integers(1, 5), elements=st.integers(1, 99_999), dtype=dtypes),
    st.builds(BiasAdd, rows=turns, channels=sizes(70, whole=16), dtype=dtypes),
    st.builds(ColumnSum, rows=turns, columns=sizes(70, whole=16), dtype=dtypes, squared=st.booleans()),
    st.builds(SoftmaxCrossEntropy, rows=turns, classes=sizes(40), dtype=dtypes),
    st.builds(SoftmaxCrossEntropy, rows=st.integers(1, 2000), classes=sizes(700, whole=16), dtype=dtypes),
    st.builds(Reparameterise, samples=st.integers(1, 300), elements=sizes(300, whole=16), dtype=dtypes),
    st.builds(
        SpreadShares, samples=st.integers(1, 300), parts=sizes(900, whole=16), dtype=dtypes, counted=st.booleans()
    ),
    st.builds(RowSoftmax, rows=st.integers(1, 2000), columns=sizes(400, whole=16), dtype=dtypes, log=st.booleans()),
    st.builds(
        RowSoftmaxGradient, rows=st.integers(1, 2000), columns=sizes(400, whole=16), dtype=dtypes, log=st.booleans()
    ),
    st.builds(
        RowLoss,
        function=st.sampled_from(sorted(LOSSES)),
        rows=st.integers(1, 2000),
        columns=sizes(400, whole=16),
        dtype=dtypes,
    ),
    st.builds(Prelu, rows=turns, channels=sizes(70, whole=16), dtype=dtypes),
    st.builds(PreluGradient, rows=turns, channels=sizes(70, whole=16), dtype=dtypes),
    st.builds(DiceSums, positions=turns, classes=sizes(40), dtype=dtypes),
    st.builds(DiceGradient, positions=turns, classes=sizes(40), dtype=dtypes),
)
on_images: st.SearchStrategy[Kernel] = st.one_of(
    st.builds(Im2col, window=windows(), dtype=dtypes, order=st.sampled_from(ORDERS)),
    st.builds(Col2im, window=windows(), dtype=dtypes, order=st.sampled_from(ORDERS)),
    st.builds(RowIm2col, window=windows(), dtype=dtypes),
    st.builds(MaxPool, window=windows(padded=False), dtype=dtypes),
    st.builds(MaxPoolGradient, window=windows(padded=False), dtype=dtypes),
)
transposes: st.SearchStrategy[Kernel] = st.one_of(
    st.builds(
        Transpose, matrices=st.integers(1, 5), rows=st.integers(1, 500), columns=st.integers(1, 250), dtype=dtypes
    ),
    st.builds(
        Transpose,
        matrices=st.just(1),
        rows=st.integers(4, 9).map(lambda number: 128 * number),
        columns=st.integers(2, 6).map(lambda number: 64 * number),
        dtype=dtypes,
    ),
)


@st.composite
def gemms(draw: st.DrawFn) -> Kernel:
    """One long axis, all libraries; some over several planes."""
    axes = [draw(sizes(128, whole=16)) for _ in range(3)]
    axes[draw(st.integers(0, 2))] *= draw(st.integers(1, 24))
    gemm = Gemm(
        *axes,
        dtype=draw(dtypes),
        transpose_a=draw(st.booleans()),
        transpose_b=draw(st.booleans()),
        library=draw(st.sampled_from(LIBRARIES)),
        accumulate=draw(st.booleans()),
    )
    planes = draw(st.sampled_from([1, 1, 1, 3]))
    return gemm if planes == 1 else Batched(kernel=gemm, total=planes)


@st.composite
def convolutions(draw: st.DrawFn, *, most: int = 16, images: int = 32, winograd: bool = False) -> Convolution:
    """Shapes taller than wide: many rows that are the same; ``winograd``: those that it can do."""
    groups = draw(st.sampled_from([1, 1, 2]))
    kr, kc, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2]))
    stride, padding = draw(st.sampled_from([1, 1, 2])), draw(st.integers(0, 2))
    if winograd:
        kr, kc, dilation, stride = 3, 3, 1, 1
    return Convolution(
        batch=draw(sizes(images, whole=min(images, 16))),
        ni=groups * draw(sizes(most, whole=min(most, 8))),
        no=groups * draw(sizes(most, whole=min(most, 8))),
        ri=dilation * (kr - 1) + draw(st.integers(1, 40)),
        ci=dilation * (kc - 1) + draw(st.integers(1, 6)),
        kr=kr,
        kc=kc,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@st.composite
def planned(draw: st.DrawFn, library: Library, ldm: int) -> Kernel:
    """A launch of any plan of a library, as the tuner would get it."""
    plan = draw(st.sampled_from(GENERATIONS[library].convolutions))
    naive = library == "naive"
    task = Task(
        convolution=draw(convolutions(winograd=plan == "winograd", most=8 if naive else 16, images=4 if naive else 32)),
        which=draw(st.sampled_from(PASSES)),
        dtype=draw(dtypes),
        library=library,
        core_groups=draw(st.sampled_from([1, 4])),
    )
    return one_of(draw, lambda: build(plan, task, with_ldm(ldm)))


@st.composite
def variants(draw: st.DrawFn, ldm: int) -> Kernel:
    """Convolutions that no library plans by itself: Caffe's order, shares, single buffers, the ladder's rungs."""
    which, dtype = draw(st.sampled_from(PASSES)), draw(dtypes)
    kind = draw(st.sampled_from(["explicit", "winograd", "single", "single", "dma", "direct"]))
    match kind:
        case "explicit":
            shape = draw(convolutions(most=12))
            return one_of(draw, lambda: explicit(shape, which, dtype=dtype, order="channels-first"))
        case "winograd":
            shape = replace(draw(convolutions(winograd=True)), groups=1)
            parts = draw(st.sampled_from([1, 2])) if which != "weight_gradient" else 1
            options = {
                "order": draw(st.sampled_from(ORDERS)),
                "overlapped": draw(st.booleans()),
                "share": Share(parts - 1, parts),
            }
            return one_of(draw, lambda: winograd(shape, which, dtype=dtype, processor=with_ldm(ldm), **options))
        case "single":
            return SingleBuffered(
                convolution=replace(draw(convolutions()), groups=1, stride=1), which=which, dtype=dtype
            )
    small = draw(convolutions(most=8, images=4))
    if kind == "dma":
        return DmaConvolution(
            convolution=small, which=which, dtype=dtype, vectorised=draw(st.booleans()), overlapped=draw(st.booleans())
        )
    fitting = small.group_ni % 4 == small.group_no % 4 == 0
    return DirectConvolution(convolution=small, which=which, dtype=dtype, vectorised=fitting and draw(st.booleans()))


def one_of(draw: st.DrawFn, launches: object) -> Kernel:
    """One of a plan's kernels; shapes that the plan cannot do are left out."""
    try:
        found: tuple[Launch, ...] = launches()  # type: ignore[operator]
    except (InfeasiblePlan, UnsuitablePlan):
        assume(False)
    return draw(st.sampled_from([launch.kernel for launch in found]))


def family(name: str, ldm: int) -> st.SearchStrategy[Kernel]:
    """Kernels of one of ``FAMILIES``."""
    match name:
        case "streaming":
            return streaming
        case "images":
            return on_images
        case "transposes":
            return transposes
        case "products":
            return gemms()
        case "variants":
            return variants(ldm)
    return planned(name, ldm)


FAMILIES = ("streaming", "images", "transposes", "products", "variants", *LIBRARIES)
"""Kinds of kernels; the plans of each library's convolutions are one."""


@st.composite
def cases(draw: st.DrawFn, name: str) -> Case:
    """Kernels of a family on small machines, in memory used in any way."""
    ldm = 1024 * draw(st.sampled_from([1, 2, 4, 4, 8]))
    return Case(draw(family(name, ldm)), ldm, draw(memories))
