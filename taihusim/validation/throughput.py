"""Predicts published training rates and shares of swCaffe from the same lowered programs as ``taihusim train``.

Nothing is fitted to these tables. The rows of other devices belong to other machines: those of a K40m are predicted for
the machine k40m_node and reported apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Final

from nnlib.precision import DTYPES
from sim.chip.mpe import copy_seconds
from sim.machine.load import load_machine
from sim.machine.spec import MachineSpec
from sim.problems import BadInput
from taihusim.validation.inputs import Inputs, Unpredictable, check_library, text, whole
from taihusim.validation.training import node_steps
from workloads.jobs.node_step import NodeStep

WORKLOADS: Final[Mapping[str, str]] = {
    "AlexNet": "alexnet_bn",
    "VGG-16": "vgg16",
    "ResNet-50": "resnet50",
    "GoogLeNet": "googlenet",
}
"""AlexNet is the one with batch normalisation, of which SWCAFFE shows the layers."""
K40M: Final = "K40m cuDNN5.1"
"""What the tables call that device."""
LIBRARIES: Final = ("swcaffe-2018", "autotuned-2019")
REPRINTED: Final = frozenset({("AlexNet", "autotuned-2019")})
"""Rates of the thesis that are those of SWCAFFE to the last digit, while its other two nets became 1.6 and 2.6 times
as fast: taken for the same measurement, and predicted with the library of 2018. See docs/validation.md."""
SHARES_OF: Final[Mapping[str, tuple[str, int]]] = {
    "AlexNet": ("alexnet_one_tower", 256),
    "VGG-16": ("vgg16", 64),
    "ResNet-50": ("resnet50", 64),
    "GoogLeNet": ("googlenet", 128),
}
"""Workload and samples per node of the shares, which the thesis does not state: samples as in its rates. Its AlexNet
spends nothing on normalisation, so it is not the one of SWCAFFE."""
SHARES_LIBRARIES: Final[Mapping[str, str]] = {"swcaffe-2018": "swcaffe-2018", "autotuned-2019": "searched-2019"}
"""Rectifiers, which memory bounds, have 4 % of AlexNet's iteration: it took 0.8 s, which only tuned gradients reach."""


def throughput_training(inputs: Inputs, machine: MachineSpec) -> float:
    """Images per second of one node. Raises Unpredictable for other devices, networks and libraries."""
    processor = machine.processor
    device, net = text(inputs, "device"), text(inputs, "net")
    if device != f"{processor.name} ({processor.core_groups} CG)":
        raise Unpredictable(f"device {device!r} is not {processor.name} with {processor.core_groups} core groups")
    check_library(inputs, *LIBRARIES)
    if net not in WORKLOADS:
        raise Unpredictable(f"net {net!r} is none of {', '.join(WORKLOADS)}")
    library = text(inputs, "library")
    if (net, library) in REPRINTED:
        library = "swcaffe-2018"
    batch = whole(inputs, "batch")
    return batch / _step(WORKLOADS[net], library, batch, machine).seconds


def k40m_throughput(inputs: Inputs, machine: MachineSpec) -> float:
    """Images per second of one node with a K40m, whatever ``machine``. Raises Unpredictable as above."""
    device, net = text(inputs, "device"), text(inputs, "net")
    if device != K40M:
        raise Unpredictable(f"device {device!r} is not {K40M}")
    if net not in WORKLOADS:
        raise Unpredictable(f"net {net!r} is none of {', '.join(WORKLOADS)}")
    batch = whole(inputs, "batch")
    return batch / _step(WORKLOADS[net], "swcaffe-2018", batch, _k40m_node()).seconds


@lru_cache(maxsize=1)
def _k40m_node() -> MachineSpec:
    return load_machine("k40m_node")


def time_share(inputs: Inputs, machine: MachineSpec) -> float:
    """Percent of an iteration on one node that a part takes. Raises Unpredictable as above."""
    check_library(inputs, *LIBRARIES)
    net, part = text(inputs, "net"), text(inputs, "part")
    if net not in SHARES_OF:
        raise Unpredictable(f"net {net!r} is none of {', '.join(SHARES_OF)}")
    workload, batch = SHARES_OF[net]
    library = SHARES_LIBRARIES[text(inputs, "library")]
    step = _step(workload, library, batch, machine)
    seconds = {**step.by_part, "io": input_copy_seconds(workload, library, batch, machine)}
    if part not in seconds:
        raise Unpredictable(f"part {part!r} is none of {', '.join(seconds)}")
    return 100 * seconds[part] / sum(seconds.values())


def input_copy_seconds(workload: str, library: str, batch: int, machine: MachineSpec) -> float:
    """What an iteration pays for input that a thread has fetched: each MPE copies the samples of its core group."""
    setup = node_steps(workload=workload, library=library, machine=machine).setup
    numbers = sum(prod(each.shape) for each in setup.graph.inputs)
    item = DTYPES[setup.mapping.dtype].itemsize
    return copy_seconds(machine.processor, nbytes=setup.core_group_samples(batch) * numbers * item)


def _step(workload: str, library: str, batch: int, machine: MachineSpec) -> NodeStep:
    """A node's step. Raises Unpredictable where it does not fit the machine."""
    try:
        return node_steps(workload=workload, library=library, machine=machine).training(batch)
    except BadInput as bad:
        raise Unpredictable(str(bad)) from bad
