"""Predicts ``swdnn_conv_fp64_4cg``: the logs of the 2016 library on the four core groups of a chip."""

from __future__ import annotations

from nnlib.kernels.convolutions.convolution import Convolution
from nnlib.kernels.implicit.implicit_batch import BatchSizeAware
from sim.machine.spec import MachineSpec
from taihusim.validation.conditions import SWDNN_2016
from taihusim.validation.inputs import Inputs, Unpredictable, whole
from taihusim.validation.launched import launched_seconds


def swdnn_2016(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of a valid convolution of which each core group computes an equal part of the output rows.

    A launch is timed from spawn to join. Raises Unpredictable if rows cannot be shared out or the library's tiles do
    not fit.
    """
    processor, groups = machine.processor, SWDNN_2016.core_groups
    k, ro, co = (whole(inputs, column) for column in ("k", "ro", "co"))
    if ro % groups:
        raise Unpredictable(f"{ro} output rows cannot be shared out to {groups} core groups")
    part = Convolution(
        batch=whole(inputs, "batch"),
        ni=whole(inputs, "ni"),
        no=whole(inputs, "no"),
        ri=ro // groups + k - 1,
        ci=co + k - 1,
        kr=k,
        kc=k,
    )
    kernel = BatchSizeAware(convolution=part, dtype="fp64", library="swdnn-2016")
    return groups * part.flops / launched_seconds(kernel, processor, memory=SWDNN_2016.memory) / 1e9
