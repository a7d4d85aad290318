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
PUBLISHED_RATES: Final[Mapping[str, tuple[int, float]]] = {
    "alexnet_bn": (256, 94.17),
    "resnet50": (32, 5.56),
    "vgg16": (64, 6.21),
}
"""Batch and images per second of one node in SWCAFFE table III: a condition of the shares printed in the same paper.

What they tell is how long communication takes; how well a node's own time is predicted, throughput_training tells.
"""
THESIS_BATCH: Final = 32
"""Samples per node in THESIS chapter 7."""


def comm_share(inputs: Inputs, machine: MachineSpec) -> float:
    """Share of communication in a step, per cent, beside the published time of one node. Raises Unpredictable.

    At other batches than the published one the predicted time is taken as many times too long or too short as there.
    """
    communicated, computed = _parts_of_step(inputs, machine)
    workload, _ = _run(inputs)
    if workload in PUBLISHED_RATES:
        batch, rate = PUBLISHED_RATES[workload]
        one = step_timing(workload=workload, batch=batch, nodes=1, library=text(inputs, "library"), machine=machine)
        computed *= batch / rate / one.seconds
    return 100 * communicated / (communicated + computed)


def comm_share_predicted(inputs: Inputs, machine: MachineSpec) -> float:
    """The same beside the predicted time of one node. Raises Unpredictable."""
    communicated, computed = _parts_of_step(inputs, machine)
    return 100 * communicated / (communicated + computed)


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


def _parts_of_step(inputs: Inputs, machine: MachineSpec) -> tuple[float, float]:
    """Seconds of communication that are exposed in a step, and the seconds of the rest."""
    timing = _of_run(inputs, machine, nodes=_nodes(inputs, machine))
    exposed = timing.communication_exposed_seconds
    return exposed, timing.seconds - exposed


def _of_run(inputs: Inputs, machine: MachineSpec, *, nodes: int) -> StepTiming:
    """A step of a run such as ``AlexNet_B256``, with the communication of its library."""
    workload, batch = _run(inputs)
    return step_timing(workload=workload, batch=batch, nodes=nodes, library=text(inputs, "library"), machine=machine)


def _run(inputs: Inputs) -> tuple[str, int]:
    """Workload and samples per node. Raises Unpredictable."""
    run = text(inputs, "run")
    found = re.fullmatch(r"(\w+)_B(\d+)", run)
    if found is None:
        raise Unpredictable(f"run {run} is not of the form NETWORK_Bsamples")
    return _workload(found[1]), int(found[2])


def _workload(name: str) -> str:
    if name not in WORKLOADS:
        raise Unpredictable(f"network {name} is not modelled here; modelled are {', '.join(WORKLOADS)}")
    return WORKLOADS[name]


def _nodes(inputs: Inputs, machine: MachineSpec) -> int:
    return whole(inputs, "nodes", most=machine.nodes)


def _share(timing: StepTiming) -> float:
    return 100 * timing.communication_exposed_seconds / timing.seconds
