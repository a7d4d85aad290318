"""Small things that jobs are tested with: a linear classifier and a node's timer on the default machine."""

from __future__ import annotations

from functools import cache
from typing import Any

from numpy.typing import NDArray

from machine_configs import DEFAULT_MACHINE
from nnlib.graph import Graph
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import Kernel
from nnlib.layers.arrangement import Flatten
from nnlib.layers.linear import Linear
from sim.machine.load import load_machine
from sim.machine.spec import MachineSpec, ProcessorSpec
from sim.time import seconds_from_ticks
from workloads.datasets.dataset import Labelled, Part
from workloads.datasets.stores import ImageStore
from workloads.jobs.node_timer import NodeTimer
from workloads.mapping_file import load_mapping


def linear_graph(*, height: int = 8, width: int = 8, channels: int = 1, units: int = 10) -> Graph:
    """Flatten and one linear layer: ``units·(height·width·channels + 1)`` parameters, two tensors."""
    return Graph.chain((height, width, channels), [Flatten("flatten"), Linear("linear", units)])


@cache
def clock_of(processor: ProcessorSpec) -> KernelClock:
    """One clock for all tests of a processor."""
    return KernelClock(processor)


@cache
def machine(*settings: str) -> MachineSpec:
    """The default machine with settings."""
    return load_machine(DEFAULT_MACHINE, settings)


def node_timer(*mapping: str, groups: int = 4, spec: MachineSpec | None = None) -> NodeTimer:
    """The timer of a node on which ``groups`` core groups work, with settings of the mapping."""
    spec = machine() if spec is None else spec
    return NodeTimer(
        machine=spec,
        mapping=load_mapping("default", mapping),
        clock=clock_of(spec.processor),
        active_core_groups=groups,
    )


def kernel_seconds(timer: NodeTimer, *kernels: Kernel) -> float:
    """Time of the kernels themselves on a core group, launches not counted."""
    hertz = timer.machine.processor.clock_hertz
    return sum(seconds_from_ticks(timer.clock.time(kernel).ticks, clock_hertz=hertz) for kernel in kernels)


def image_part(images: NDArray[Any], labels: NDArray[Any], *, max_shift: int = 0) -> Part:
    """Images in memory with their class numbers, shifted by up to ``max_shift`` pixels to be learned from."""
    return Part(store=ImageStore(samples=Labelled(images=images, labels=labels), max_shift=max_shift))
