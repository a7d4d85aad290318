"""What every question begins with: machine, workload and mapping, and what follows from the three together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as WordMapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from nnlib.graph import Graph
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.model import Model
from nnlib.program import Program
from sim.machine.load import DEFAULT_MACHINE, load_machine
from sim.machine.spec import MachineSpec
from sim.problems import BadInput, Problem
from taihusim.cache import default_store
from taihusim.options import Settings
from taihusim.tile_problem import tile_problem
from workloads.mapping import DEFAULT_MAPPING, Mapping, load_mapping
from workloads.model_file import is_model_file, workload_of_file
from workloads.spec import Workload, load_workload
from workloads.step import NodeTimer

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A machine, a workload and a mapping that go together, and the workload's model."""

    machine: MachineSpec
    workload: Workload
    mapping: Mapping
    model: Model
    clock: KernelClock

    @property
    def graph(self) -> Graph:
        """The model's network."""
        return self.model.graph

    def samples_per_node(self, nodes: int) -> int:
        """Samples of a step on each node. Raises BadInput if a global batch cannot be shared equally."""
        return self.mapping.samples_per_node(nodes=nodes, recipe_batch_per_node=self.workload.recipe.batch_per_node)

    def batch_problems(self, nodes: Sequence[int]) -> list[Problem]:
        """A problem for each node count over which the batch cannot be shared equally, down to its ranks."""
        problems: list[Problem] = []
        for count in nodes:
            samples = _collect(problems, partial(self.samples_per_node, count)) if count >= 1 else None
            ranks = self.mapping.ranks_per_node
            if samples is not None and samples % ranks:
                expected = f"a multiple of the {ranks} ranks of a node"
                problems.append(Problem(file="--batch-per-node", key="", value=samples, expected=expected))
        return list(dict.fromkeys(problems))

    def core_group_batch(self, nodes: int) -> int:
        """Samples of a step on the core group that has most."""
        return -(-self.samples_per_node(nodes) // self.machine.processor.core_groups)

    def timer(self, nodes: int) -> NodeTimer:
        """The timer of a node's launches."""
        active = min(self.machine.processor.core_groups, self.samples_per_node(nodes))
        return NodeTimer(machine=self.machine, mapping=self.mapping, clock=self.clock, active_core_groups=active)

    def check_program(self, program: Program) -> None:
        """Raise BadInput if the buffers do not fit the memory, or kernels find no tile that fits the LDM."""
        problems = self._memory_problems(program) or self._tile_problems(program)
        if problems:
            raise BadInput(problems)

    def _memory_problems(self, program: Program) -> list[Problem]:
        available = self.machine.processor.memory.bytes
        if program.memory_bytes <= available:
            return []
        way_out = "take a smaller one, or --set mapping.recompute=true"
        expected = f"at least {program.memory_bytes} B per core group for this batch; {way_out}"
        key, found = "processor.memory.capacity", f"{available} B"
        return [Problem(file=f"machine {self.machine.name}", key=key, value=found, expected=expected)]

    def _tile_problems(self, program: Program) -> list[Problem]:
        problems = []
        for launch in program.launches:
            try:
                self.clock.time(launch.kernel)
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
) -> Setup:
    """Load the three nouns; mapping flags come after ``settings`` and win. ``optimizer`` replaces the recipe's.

    A workload may be a model file: ``shapes`` are lengths of axes that it leaves open, ``samples`` come at a time.
    Raises BadInput with all problems of all three.
    """
    settings = settings or Settings()
    problems: list[Problem] = []
    machine_spec = _collect(problems, lambda: load_machine(machine, settings.machine))
    workload_spec = _collect(problems, lambda: _workload(workload, settings, optimizer, shapes or {}, samples))
    mapping_spec = _collect(problems, lambda: load_mapping(mapping, [*settings.mapping, *mapping_flags]))
    if problems or machine_spec is None or workload_spec is None or mapping_spec is None:
        raise BadInput(problems)
    model = workload_spec.model.build()
    return Setup(
        machine=machine_spec,
        workload=workload_spec,
        mapping=mapping_spec,
        model=model,
        clock=KernelClock(machine_spec.processor, store=default_store()),
    )


def node_problems(nodes: Sequence[int], *, machine: MachineSpec) -> list[Problem]:
    """A problem for each node count that the machine does not have."""
    expected = f"1 to {machine.nodes:,} nodes on {machine.name}"
    wrong: list[int | None] = [count for count in nodes if not 1 <= count <= machine.nodes]
    if not nodes:
        wrong = [None]
    return [Problem(file="--nodes", key="", value=count, expected=expected) for count in wrong]


def _workload(
    name: str, settings: Settings, optimizer: str | None, shapes: WordMapping[str, int], samples: int
) -> Workload:
    if is_model_file(name):
        return workload_of_file(Path(name), shapes=shapes, batch=samples)
    return load_workload(name, settings.workload, optimizer=optimizer)


def _collect(problems: list[Problem], load: Callable[[], Loaded]) -> Loaded | None:
    """What ``load`` gives, or None with its problems added."""
    try:
        return load()
    except BadInput as error:
        problems.extend(error.problems)
        return None
