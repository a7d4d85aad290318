"""Training steps of published measurements: which network, batch, library and communication they were taken with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from nnlib.kernels.clock import KernelClock
from sim.machine.spec import MachineSpec
from sim.problems import BadInput
from taihusim.cache import default_store
from taihusim.node_steps import NodeSteps
from taihusim.setup import Setup
from taihusim.validation.inputs import Unpredictable
from taihusim.workload_source import WorkloadSource
from workloads.jobs.training_step import StepTiming
from workloads.mapping_file import load_mapping

MEASURED = ("precision=fp32", "overlap=false", "gradient_buckets=1 GB")
"""Weights and gradients are fp32 (SWCAFFE table III: 232.6 MB of AlexNet), packed into one where they are packed."""


FRAMEWORKS: Final = {"autotuned-2019": "swcaffe-2019"}
"""Whole networks of the thesis ran in swCaffe with the kernels of 2019, not on those kernels alone."""


def step_timing(
    *, workload: str, batch: int, nodes: int, library: str, machine: MachineSpec, settings: tuple[str, ...] = ()
) -> StepTiming:
    """A step on ``nodes`` nodes with ``batch`` samples each. Raises Unpredictable for a library not modelled."""
    steps = node_steps(workload=workload, library=library, machine=machine, settings=settings)
    return steps.timing(batch, nodes)


def node_steps(*, workload: str, library: str, machine: MachineSpec, settings: tuple[str, ...] = ()) -> NodeSteps:
    """What a node does. Raises Unpredictable for a library not modelled."""
    return _steps(workload, library, _Itself(machine), settings)


@dataclass(frozen=True, eq=False)
class _Itself:
    """A machine, equal to itself alone: descriptions hold dictionaries and have no hash."""

    machine: MachineSpec

    def __hash__(self) -> int:
        return id(self.machine)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.machine is other.machine


@lru_cache(maxsize=64)
def _steps(workload: str, library: str, itself: _Itself, settings: tuple[str, ...]) -> NodeSteps:
    machine = itself.machine
    try:
        name = FRAMEWORKS.get(library, library)
        mapping = load_mapping("default", [f"library={name}", *MEASURED, *settings])
    except BadInput as bad:
        raise Unpredictable(str(bad)) from None
    source, store = WorkloadSource(name=workload), default_store()

    def build() -> Setup:
        loaded = source.load()
        return Setup(
            machine=machine,
            workload=loaded,
            mapping=mapping,
            model=loaded.model.built,
            clock=KernelClock(machine.processor, store=store),
            source=source,
        )

    return NodeSteps(machine=machine, mapping=mapping, source=source, prepare=build, store=store)
