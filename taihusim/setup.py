"""What every question begins with: machine, workload and mapping, and what follows from the three together."""

from __future__ import annotations

from collections.abc import Mapping as WordMapping
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from machine_configs import DEFAULT_MACHINE
from nnlib.graph import Graph
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.model import Model
from nnlib.program import Program
from sim.machine.spec import MachineSpec, ProcessorSpec
from sim.problems import BadInput, Problem
from taihusim.cache import default_store
from taihusim.descriptions import described_machine, described_mapping, described_workload
from taihusim.node_counts import batch_problems, rank_problems
from taihusim.node_steps import NodeSteps
from taihusim.options import Settings
from taihusim.planning import collect
from taihusim.tile_problem import tile_problem
from taihusim.workload_source import WorkloadSource
from workloads.jobs.node_timer import NodeTimer
from workloads.mapping import DEFAULT_MAPPING, Mapping
from workloads.spec import Workload

Lowered: TypeAlias = tuple[Mapping, ProcessorSpec, int]
"""What a training program depends on: mapping, the chip that it is planned for, samples of a core group."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A machine, a workload and a mapping that go together, and the workload's model."""

    machine: MachineSpec
    workload: Workload
    mapping: Mapping
    model: Model
    clock: KernelClock
    source: WorkloadSource
    programs: dict[Lowered, Program] = field(default_factory=dict, compare=False, repr=False)
    """What has been lowered so far."""

    @property
    def graph(self) -> Graph:
        """The model's network."""
        return self.model.graph

    def samples_per_node(self, nodes: int) -> int:
        """Samples of a step on each node. Raises BadInput if a global batch cannot be shared equally."""
        return self.mapping.samples_per_node(nodes=nodes, recipe_batch_per_node=self.workload.recipe.batch_per_node)

    def step_samples(self, nodes: int) -> int:
        """Samples of a step on all nodes together. Raises BadInput as :meth:`samples_per_node`."""
        return self.mapping.step_samples(nodes=nodes, recipe_batch_per_node=self.workload.recipe.batch_per_node)

    def batch_problems(self, nodes: Sequence[int]) -> list[Problem]:
        """A problem for each node count over which the batch cannot be shared equally, down to its ranks."""
        batch = self.workload.recipe.batch_per_node
        return batch_problems(nodes, mapping=self.mapping, recipe_batch_per_node=batch)

    def core_group_batch(self, nodes: int) -> int:
        """Samples of a step on the core group that has most."""
        return self.core_group_samples(self.samples_per_node(nodes))

    def core_group_samples(self, samples: int) -> int:
        """Of a node's ``samples`` those of the core group that has most."""
        return -(-samples // self.machine.processor.core_groups)

    def timer(self, samples: int) -> NodeTimer:
        """The timer of the launches of a node with ``samples`` samples."""
        active = min(self.machine.processor.core_groups, samples)
        return NodeTimer(machine=self.machine, mapping=self.mapping, clock=self.clock, active_core_groups=active)

    @cached_property
    def steps(self) -> NodeSteps:
        """What a node does in a step or for a batch."""
        return NodeSteps(
            machine=self.machine,
            mapping=self.mapping,
            source=self.source,
            prepare=lambda: self,
            store=self.clock.store,
        )

    def check_tiles(self, program: Program) -> None:
        """Raise BadInput if kernels find no tile that fits the LDM."""
        problems = self._tile_problems(program)
        if problems:
            raise BadInput(problems)

    def _tile_problems(self, program: Program) -> list[Problem]:
        problems = []
        timer = self.timer(self.machine.processor.core_groups)
        fitting: set[int] = set()
        for launch in program.launches:
            if id(launch.kernel) in fitting:
                continue
            try:
                timer.launch(launch.kernel)
                fitting.add(id(launch.kernel))
            except InfeasiblePlan as error:
                place = f"in layer {launch.layer!r} ({launch.phase})"
                problems.append(tile_problem(self.machine, error, place=place))
        return problems


def prepare(
    *,
    workload: str,
    machine: str = DEFAULT_MACHINE,
    mapping: str = DEFAULT_MAPPING,
    settings: Settings | None = None,
    optimizer: str | None = None,
    mapping_flags: Sequence[str] = (),
    shapes: WordMapping[str, int] | None = None,
    samples: int = 1,
    trained: bool = False,
) -> Setup:
    """Load the three nouns; mapping flags come after ``settings`` and win. ``optimizer`` replaces the recipe's.

    A workload may be a model file: ``shapes`` are lengths of axes that it leaves open, ``samples`` come at a time.
    Raises BadInput with all problems of all three.
    """
    settings = settings or Settings()
    problems: list[Problem] = []
    store = default_store()
    machine_spec = collect(problems, lambda: described_machine(machine, settings.machine, store=store))
    source = WorkloadSource(
        name=workload,
        settings=settings.workload,
        optimizer=optimizer,
        shapes=shapes or {},
        samples=samples,
        trained=trained,
    )
    workload_spec = collect(problems, lambda: described_workload(source, store=store))
    mapping_spec = collect(
        problems, lambda: described_mapping(mapping, [*settings.mapping, *mapping_flags], store=store)
    )
    if machine_spec is not None and mapping_spec is not None:
        problems += rank_problems(machine_spec, mapping_spec)
    if problems or machine_spec is None or workload_spec is None or mapping_spec is None:
        raise BadInput(problems)
    return setup_of(machine=machine_spec, workload=workload_spec, mapping=mapping_spec, source=source)


def setup_of(*, machine: MachineSpec, workload: Workload, mapping: Mapping, source: WorkloadSource) -> Setup:
    """The three nouns together, the workload's network built."""
    return Setup(
        machine=machine,
        workload=workload,
        mapping=mapping,
        model=workload.model.built,
        clock=KernelClock(machine.processor, store=default_store()),
        source=source,
    )
