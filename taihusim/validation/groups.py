"""Parts of a table that are reported apart, and other readings of rows whose labels are in doubt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

from sim.machine.spec import MachineSpec
from taihusim.validation.inputs import Inputs, Predictor
from taihusim.validation.network import effective_bandwidth
from taihusim.validation.scaling import comm_share_predicted
from taihusim.validation.subsets import long_messages
from taihusim.validation.throughput import K40M, k40m_throughput


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows that ``contains`` says yes to, predicted by ``predictor`` instead of the table's if there is one."""

    words: str
    contains: Callable[[Inputs], bool]
    predictor: Predictor | None = None


def _bandwidths(algorithm: str, nodes: str, inputs: Inputs) -> bool:
    return inputs.get("algorithm") == algorithm and inputs.get("nodes") == nodes and long_messages(inputs)


def _as_512(inputs: Inputs, machine: MachineSpec) -> float:
    return effective_bandwidth(inputs, machine, nodes=512)


def _run(name: str, inputs: Inputs) -> bool:
    return inputs.get("run") == name


def _device(name: str, inputs: Inputs) -> bool:
    return inputs.get("device") == name


def _algorithm(name: str, inputs: Inputs) -> bool:
    return inputs.get("algorithm") == name


GROUPS: Final[Mapping[str, tuple[Group, ...]]] = MappingProxyType(
    {
        "allreduce_bandwidth": (
            Group(
                words="topology-aware on 256 nodes from 8 MB, calibrated on",
                contains=partial(_bandwidths, "Topawa", "256"),
            ),
            Group(words="topology-aware on 1024 nodes from 8 MB", contains=partial(_bandwidths, "Topawa", "1024")),
            Group(
                words="stock MPI on 256 nodes from 8 MB, calibrated on",
                contains=partial(_bandwidths, "SWMPI_Allreduce", "256"),
            ),
            Group(words="stock MPI on 1024 nodes from 8 MB", contains=partial(_bandwidths, "SWMPI_Allreduce", "1024")),
            Group(words="ring from 8 MB, on 256 nodes as labelled", contains=partial(_bandwidths, "Ring", "256")),
            Group(
                words="ring from 8 MB, label 256 read as 512 nodes",
                contains=partial(_bandwidths, "Ring", "256"),
                predictor=_as_512,
            ),
        ),
        "scaling_comm_share": (
            Group(words="ResNet-50, batch 32, calibrated on", contains=partial(_run, "ResNet50_B32")),
            Group(words="AlexNet, batch 64", contains=partial(_run, "AlexNet_B64")),
            Group(words="AlexNet, batch 256", contains=partial(_run, "AlexNet_B256")),
            Group(
                words="ResNet-50, batch 32, beside the predicted time of one node",
                contains=partial(_run, "ResNet50_B32"),
                predictor=comm_share_predicted,
            ),
            Group(
                words="AlexNet, batch 64, beside the predicted time of one node",
                contains=partial(_run, "AlexNet_B64"),
                predictor=comm_share_predicted,
            ),
            Group(
                words="AlexNet, batch 256, beside the predicted time of one node",
                contains=partial(_run, "AlexNet_B256"),
                predictor=comm_share_predicted,
            ),
        ),
        "scaling_speedup": (
            Group(words="ResNet-50, batch 32", contains=partial(_run, "ResNet50_B32")),
            Group(words="AlexNet, batch 64", contains=partial(_run, "AlexNet_B64")),
            Group(words="AlexNet, batch 256", contains=partial(_run, "AlexNet_B256")),
        ),
        "throughput_training": (
            Group(
                words="K40m, a roofline of machine k40m_node",
                contains=partial(_device, K40M),
                predictor=k40m_throughput,
            ),
        ),
        "scaling_comm_share_thesis": (
            Group(words="topology-aware", contains=partial(_algorithm, "Topawa")),
            Group(words="stock MPI", contains=partial(_algorithm, "SWMPI")),
        ),
    }
)
