"""Machine, mapping and the source of a workload, loaded without building its network: what is known of it is enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sim.machine.spec import MachineSpec
from sim.problems import BadInput, Problem
from taihusim.cache import default_store
from taihusim.descriptions import described_machine, described_mapping, described_workload
from taihusim.node_counts import rank_problems
from taihusim.node_steps import NodeSteps
from taihusim.options import Settings
from taihusim.workload_source import WorkloadSource
from workloads.mapping import Mapping as WorkloadMapping

if TYPE_CHECKING:  # it loads all that builds networks
    from nnlib.kernels.store import KernelStore
    from taihusim.setup import Setup

Loaded = TypeVar("Loaded")


def plan_steps(
    *,
    workload: str,
    machine: str,
    mapping: str,
    settings: Settings,
    optimizer: str | None = None,
    mapping_flags: Sequence[str] = (),
    shapes: Mapping[str, int] | None = None,
    samples: int = 1,
    trained: bool = False,
) -> NodeSteps:
    """As :func:`taihusim.setup.prepare`, but the network is built only for what is not kept yet.

    Raises BadInput with all problems of machine, mapping and the workload's files.
    """
    problems: list[Problem] = []
    store = default_store()
    source = WorkloadSource(
        name=workload,
        settings=settings.workload,
        optimizer=optimizer,
        shapes=shapes or {},
        samples=samples,
        trained=trained,
    )
    machine_spec = collect(problems, lambda: described_machine(machine, settings.machine, store=store))
    mapping_spec = collect(
        problems, lambda: described_mapping(mapping, [*settings.mapping, *mapping_flags], store=store)
    )
    if machine_spec is not None and mapping_spec is not None:
        problems += rank_problems(machine_spec, mapping_spec)
        build = partial(_build, machine_spec, mapping_spec, source, store)
        steps = NodeSteps(machine=machine_spec, mapping=mapping_spec, source=source, prepare=build, store=store)
        if collect(problems, lambda: steps.facts) is not None and not problems:
            return steps
    else:
        collect(problems, source.load)
    raise BadInput(dict.fromkeys(problems))


def _build(machine: MachineSpec, mapping: WorkloadMapping, source: WorkloadSource, store: KernelStore | None) -> Setup:
    from taihusim.setup import setup_of

    return setup_of(machine=machine, workload=described_workload(source, store=store), mapping=mapping, source=source)


def collect(problems: list[Problem], load: Callable[[], Loaded]) -> Loaded | None:
    """What ``load`` gives, or None with its problems added."""
    try:
        return load()
    except BadInput as error:
        problems.extend(error.problems)
        return None
