"""Predicts the tables of convolutions by the image-size-aware plan: its kernel simulated on one core group's rows.

Core groups share out the rows of the output (R-swDNN ``test.c``: Ro / 4 each); a core group with a whole share and no
edge of the image above it, where there is one, stands for all. One launch is timed.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import mean
from typing import Final

from nnlib.kernels.convolutions.convolution import Convolution
from nnlib.kernels.generations import GENERATIONS, Library
from nnlib.kernels.implicit.image_order import VECTOR
from nnlib.kernels.implicit.image_plan import ImagePass, ImagePlan
from nnlib.kernels.implicit.image_rules import image_plan
from nnlib.kernels.implicit.image_share import row_share
from nnlib.kernels.implicit.implicit_batch import BatchSizeAware
from nnlib.kernels.implicit.implicit_image import ImplicitImage
from nnlib.kernels.kernel import InfeasiblePlan, Kernel, UnsuitablePlan
from nnlib.precision import DTYPES, DTypeName
from sim.machine.spec import MachineSpec, ProcessorSpec
from taihusim.validation.conditions import AUTOTUNED, HAND_FP32, SWDNN17, TACO18, ConvolutionRun
from taihusim.validation.inputs import Inputs, Unpredictable, text, whole
from taihusim.validation.launched import launched_seconds

VGG16: Final = {
    "conv1_1": (3, 64, 224),
    "conv1_2": (64, 64, 224),
    "conv2_1": (64, 128, 112),
    "conv2_2": (128, 128, 112),
    "conv3_1": (128, 256, 56),
    "conv3_2": (256, 256, 56),
    "conv3_3": (256, 256, 56),
    "conv4_1": (256, 512, 28),
    "conv4_2": (512, 512, 28),
    "conv4_3": (512, 512, 28),
    "conv5_1": (512, 512, 14),
    "conv5_2": (512, 512, 14),
    "conv5_3": (512, 512, 14),
}
"""Input channels, output channels and pixels across, all with 3 × 3 filters and padding 1."""
KERNEL_SIZE_NI: Final = 128
"""Input channels of ``conv_swdnn2017_kernel_size_fp64``, which does not print them."""
TABLE_3_BATCH: Final = 128
TABLE_3_PIXELS: Final = 64
"""Images, and output pixels across, of ``conv_swdnn2017_table3``."""
AVERAGED: Final = (64, 128, 192, 256, 384)
"""Channels over which the rows of TACO18 are averages."""
AUTOTUNED_PIXELS: Final = 32
"""Pixels across of ``conv_autotuned_fp32``, printed as 16 in the text and as 32 in listing 5.1."""


def swdnn_2017(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of ``conv_swdnn2017_fp64``, and of ``conv_swdnn2017_kernel_size_fp64``, valid convolutions."""
    channels = whole(inputs, "Ni") if inputs.get("Ni", "").strip() else KERNEL_SIZE_NI
    convolution = _valid(
        batch=whole(inputs, "B"),
        ni=channels,
        no=whole(inputs, "No"),
        rows=whole(inputs, "Ro"),
        columns=whole(inputs, "Co"),
        k=whole(inputs, "K"),
    )
    return _gflops(convolution, machine.processor, dtype=_precision(inputs), library="swdnn-2017", run=SWDNN17)


def taco(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of a row of ``conv_taco_ni_no_ro_fp64``: the mean over one of Ni and No, whichever the row leaves open."""
    if text(inputs, "averaged_over")[:2] not in ("Ni", "No"):
        raise Unpredictable(f"{inputs['averaged_over']!r} is an average over neither Ni nor No")
    ins, outs = ((whole(inputs, name),) if inputs.get(name, "").strip() else AVERAGED for name in ("Ni", "No"))
    rows, batch, k = whole(inputs, "Ro"), whole(inputs, "B"), whole(inputs, "K")
    rates = [
        _gflops(
            _valid(batch=batch, ni=ni, no=no, rows=rows, columns=rows, k=k),
            machine.processor,
            dtype=_precision(inputs),
            library="swcaffe-2018",
            run=TACO18,
        )
        for ni in ins
        for no in outs
    ]
    return mean(rates)


def hand_fp32(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of a layer of ``conv_implicit_hand_fp32``."""
    network, _, layer = text(inputs, "layer").partition(" ")
    if network != "VGG16" or layer not in VGG16:
        raise Unpredictable(f"layer {inputs['layer']!r} is none of VGG16")
    ni, no, pixels = VGG16[layer]
    return _gflops(
        _padded(batch=whole(inputs, "batch"), ni=ni, no=no, pixels=pixels, run=HAND_FP32),
        machine.processor,
        dtype="fp32",
        library="swcaffe-2018",
        run=HAND_FP32,
    )


def autotuned_fp32(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of a row of ``conv_autotuned_fp32``."""
    k = whole(inputs, "K")
    if k % 2 == 0:
        raise Unpredictable(f"a filter of {k} × {k} taps does not keep the size of the image")
    convolution = _padded(
        batch=whole(inputs, "batch"),
        ni=whole(inputs, "Ni"),
        no=whole(inputs, "No"),
        pixels=AUTOTUNED_PIXELS,
        run=AUTOTUNED,
        k=k,
    )
    return _gflops(convolution, machine.processor, dtype="fp32", library="autotuned-2019", run=AUTOTUNED)


def plans_2017(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of a row of ``conv_swdnn2017_table3``, whose image plans print their tile, bB images × bCo columns."""
    processor = machine.processor
    groups = whole(inputs, "cgs", most=processor.core_groups)
    ni, no = whole(inputs, "Ni"), whole(inputs, "No")
    convolution = _valid(
        batch=TABLE_3_BATCH, ni=ni, no=no, rows=TABLE_3_PIXELS, columns=TABLE_3_PIXELS, k=whole(inputs, "K")
    )
    dtype, name = _precision(inputs), text(inputs, "plan").lower()
    if "batch" in name:
        rows = -(-convolution.ro // groups) + convolution.kr - 1
        part = replace(convolution, ri=rows)
        kernel = BatchSizeAware(convolution=part, dtype=dtype, library="swdnn-2017")
        return _rate(kernel, convolution, processor, library="swdnn-2017", run=SWDNN17, core_groups=groups)
    if not name.startswith("im"):
        raise Unpredictable(f"plan {inputs['plan']!r} is neither image- nor batch-size-aware")
    mesh = processor.mesh
    plan = ImagePlan(
        order="four-images",
        spread="images",
        images=whole(inputs, "bB", multiple=VECTOR * mesh.rows) // mesh.rows,
        columns=whole(inputs, "bCo", most=convolution.co),
        source_channels=-(-ni // mesh.columns),
        target_channels=-(-no // mesh.columns),
    )
    return _gflops(
        convolution, processor, dtype=dtype, library="swdnn-2017", run=SWDNN17, plan=plan, core_groups=groups
    )


def _gflops(
    convolution: Convolution,
    processor: ProcessorSpec,
    *,
    dtype: DTypeName,
    library: Library,
    run: ConvolutionRun,
    plan: ImagePlan | None = None,
    core_groups: int | None = None,
) -> float:
    """The rate at which ``core_groups`` (all by default) do the forward pass, each its share of the rows."""
    groups = processor.core_groups if core_groups is None else core_groups
    whole_image = ImagePass(convolution=convolution, which="forward", dtype=dtype, library=library)
    task = row_share(whole_image, groups)
    try:
        kernel = ImplicitImage(
            convolution=convolution,
            which=task.which,
            dtype=dtype,
            library=library,
            plan=image_plan(task, processor) if plan is None else plan,
            share=task.share,
        )
    except (InfeasiblePlan, UnsuitablePlan) as error:
        raise Unpredictable(str(error)) from error
    return _rate(kernel, convolution, processor, library=library, run=run, core_groups=groups)


def _rate(
    kernel: Kernel,
    convolution: Convolution,
    processor: ProcessorSpec,
    *,
    library: Library,
    run: ConvolutionRun,
    core_groups: int,
) -> float:
    """GFLOPS of a convolution of which each core group launches ``kernel`` once. Raises Unpredictable."""
    memory = replace(GENERATIONS[library].memory, active=core_groups, base_offset=int(run.base_bytes.value))
    return convolution.flops / launched_seconds(kernel, processor, memory=memory) / 1e9


def _valid(*, batch: int, ni: int, no: int, rows: int, columns: int, k: int) -> Convolution:
    """Without padding, with ``rows`` × ``columns`` output pixels."""
    return Convolution(batch=batch, ni=ni, no=no, ri=rows + k - 1, ci=columns + k - 1, kr=k, kc=k)


def _padded(*, batch: int, ni: int, no: int, pixels: int, run: ConvolutionRun, k: int = 3) -> Convolution:
    return Convolution(
        batch=batch, ni=ni, no=no, ri=pixels, ci=pixels, kr=k, kc=k, padding=int(run.padding.value) * (k // 2)
    )


def _precision(inputs: Inputs) -> DTypeName:
    precision = text(inputs, "precision")
    for name in DTYPES:
        if precision == name:
            return name
    raise Unpredictable(f"precision {precision} is not modelled")
