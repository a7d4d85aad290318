"""Predictions of weak scaling of training: speed-up over one node, and share of communication in a step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sim.machine.spec import MachineSpec
from taihusim.validation.inputs import Inputs, Unpredictable, text, whole
from taihusim.validation.training import step_timing
from workloads.jobs.training_step import StepTiming

WORKLOADS: Final[Mapping[str, str]] = {"AlexNet": "alexnet_bn", "ResNet50": "resnet50", "VGG16": "vgg16"}
"""Networks of the measurements; AlexNet is the one with batch normalisation, whose 232.6 MB are printed."""
ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = {
    "Topawa": ("collective=halving_doubling_round_robin",),
    "SWMPI": ("communication=stock-mpi",),
}
PUBLISHED_SECONDS: Final[Mapping[str, float]] = {"AlexNet_B256": 256 / 94.17, "ResNet50_B32": 32 / 5.56}
"""A step of one node: SWCAFFE table III."""
THESIS_BATCH: Final = 32
"""Samples per node in THESIS chapter 7."""


def comm_share(inputs: Inputs, machine: MachineSpec) -> float:
    """Share of communication in a step, per cent. Raises Unpredictable."""
    return _share(_of_run(inputs, machine, nodes=_nodes(inputs, machine)))


def comm_share_beside_published(inputs: Inputs, machine: MachineSpec) -> float:
    """The same beside the published time of one node instead of the predicted one. Raises Unpredictable."""
    run = text(inputs, "run")
    if run not in PUBLISHED_SECONDS:
        raise Unpredictable(f"no time of one node is published for {run}")
    timing = _of_run(inputs, machine, nodes=_nodes(inputs, machine))
    communicated = timing.communication_exposed_seconds
    return 100 * communicated / (communicated + PUBLISHED_SECONDS[run])


def speedup(inputs: Inputs, machine: MachineSpec) -> float:
    """Samples per second over those of one node. Raises Unpredictable."""
    nodes = _nodes(inputs, machine)
    one, many = (_of_run(inputs, machine, nodes=count) for count in (1, nodes))
    return nodes * one.seconds / many.seconds


def comm_share_thesis(inputs: Inputs, machine: MachineSpec) -> float:
    """The same of the thesis, by all-reduce. Raises Unpredictable."""
    name, algorithm = text(inputs, "net"), text(inputs, "algorithm")
    if algorithm not in ALGORITHMS:
        raise Unpredictable(f"algorithm {algorithm} is not modelled; modelled are {', '.join(ALGORITHMS)}")
    return _share(
        step_timing(
            workload=_workload(name),
            batch=THESIS_BATCH,
            nodes=_nodes(inputs, machine),
            library=text(inputs, "library"),
            machine=machine,
            settings=ALGORITHMS[algorithm],
        )
    )


def speedup_thesis(inputs: Inputs, machine: MachineSpec) -> float:
    """Speed-up with the topology-aware all-reduce. Raises Unpredictable."""
    return speedup(inputs, machine)


def _of_run(inputs: Inputs, machine: MachineSpec, *, nodes: int) -> StepTiming:
    """A step of a run such as ``AlexNet_B256``, with the communication of its library."""
    run = text(inputs, "run")
    found = re.fullmatch(r"(\w+)_B(\d+)", run)
    if found is None:
        raise Unpredictable(f"run {run} is not of the form NETWORK_Bsamples")
    return step_timing(
        workload=_workload(found[1]),
        batch=int(found[2]),
        nodes=nodes,
        library=text(inputs, "library"),
        machine=machine,
    )


def _workload(name: str) -> str:
    if name not in WORKLOADS:
        raise Unpredictable(f"network {name} is not modelled here; modelled are {', '.join(WORKLOADS)}")
    return WORKLOADS[name]


def _nodes(inputs: Inputs, machine: MachineSpec) -> int:
    return whole(inputs, "nodes", most=machine.nodes)


def _share(timing: StepTiming) -> float:
    return 100 * timing.communication_exposed_seconds / timing.seconds
