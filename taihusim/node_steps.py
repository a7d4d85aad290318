"""What a node does in a step or for a batch: from memory, from disk, or timed now, always the same to the bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sim.machine.spec import MachineSpec, ProcessorSpec
from sim.network.communication import Communicator
from taihusim.code import code_digest
from taihusim.workload_source import WorkloadSource
from workloads.facts import WorkloadFacts, facts_of
from workloads.jobs.gradients import communicator
from workloads.jobs.node_answer import NodeAnswer, node_answer_of
from workloads.jobs.node_step import NodeStep, node_step_of
from workloads.jobs.noise import late_seconds
from workloads.jobs.predicted_step import PredictedStep, predict_step
from workloads.jobs.training_step import StepTiming, step_timing_of, time_step
from workloads.mapping import Mapping as WorkloadMapping

if TYPE_CHECKING:
    from nnlib.kernels.store import KernelStore
    from taihusim.setup import Setup
    from workloads.parallel.strategy_timing import StrategyTiming

SCHEMA: Final = 1
"""Format of the entries."""
NOT_OF_A_NODE: Final = frozenset(
    {
        *("name", "title", "batch_per_node", "global_batch", "collective", "numerics", "backend", "reduction_order"),
        *("communication", "reduction_by", "reduction_overlap", "packing", "segment_bytes", "segments_in_flight"),
        *("tensor", "pipeline", "micro_batches", "optimizer_sharding"),
        *("input_from", "input_order", "input_processes", "prefetch", "stripes", "stripe_bytes"),
    }
)
"""Keys of a mapping that change nothing inside a node. A new key is taken to change something."""


class Plain(Protocol):
    """What can be kept as JSON."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""


Kept = TypeVar("Kept", bound=Plain)


@dataclass
class NodeSteps:
    """Node steps of a workload on a machine under a mapping. ``prepare`` builds the setup, if one is needed at all.

    ``store``: where they are kept on disk; None: only in memory. ``planned``: the chip that kernels keep the plans
    of, if it is another one.
    """

    machine: MachineSpec
    mapping: WorkloadMapping
    source: WorkloadSource
    prepare: Callable[[], Setup]
    store: KernelStore | None
    planned: ProcessorSpec | None = None
    known: dict[str, Any] = field(default_factory=dict)
    communicators: dict[int, Communicator] = field(default_factory=dict)

    @cached_property
    def setup(self) -> Setup:
        """Machine, workload, mapping and model together. Raises BadInput."""
        return self.prepare()

    @cached_property
    def digest(self) -> str:
        """Of all that facts depend on."""
        return self.source.digest()

    @cached_property
    def facts(self) -> WorkloadFacts:
        """What is said of the workload. Raises BadInput."""
        from_scratch = lambda: _facts(self)  # noqa: E731
        return self._kept(self._key("workload facts", ""), facts_of, from_scratch)

    def training(self, samples: int) -> NodeStep:
        """The step of a node with ``samples`` samples. Raises BadInput if it does not fit the memory or the LDM."""
        from_scratch = lambda: _training(self, samples)  # noqa: E731
        return self._kept(self._key("node step", samples), node_step_of, from_scratch)

    def timing(self, samples: int, nodes: int, *, seed: int | None = None) -> StepTiming:
        """The step of ``samples`` samples per node on ``nodes`` nodes that hold all of the network each.

        ``seed``: ranks are unequal, as the machine's noise has it, and which are late is drawn from it.
        """
        node = self.training(samples)

        def from_scratch() -> StepTiming:
            adding = self.communicators.get(nodes)
            # slow links are another seed's than the one before
            if adding is None or adding.item_bytes != node.item_bytes or self.machine.noise.slow_links:
                adding = self.communicators[nodes] = communicator(
                    machine=self.machine, mapping=self.mapping, nodes=nodes, item_bytes=node.item_bytes, seed=seed
                )
            late = None
            if seed is not None:
                ranks, noise = self.mapping.ranks_per_node, self.machine.noise
                late = late_seconds(noise, seconds=node.seconds, nodes=nodes, ranks_per_node=ranks, seed=seed)
            return time_step(
                node=node, machine=self.machine, mapping=self.mapping, nodes=nodes, known=adding, late=late
            )

        noise = None if seed is None else (self.machine.noise, seed)
        which = (samples, nodes, self.machine.network, self.mapping, noise)
        return self._kept(self._key("step", which), step_timing_of, from_scratch)

    def predicted(self, nodes: int, *, seed: int | None = None) -> PredictedStep:
        """The step on ``nodes`` nodes with its input and energy, under whatever strategy; ``seed``: as :meth:`timing`.

        Raises BadInput where the batch, the strategy or the memory does not allow so many nodes.
        """
        mapping, facts = self.mapping, self.facts
        batch = mapping.step_samples(nodes=nodes, recipe_batch_per_node=facts.batch_per_node)
        if mapping.strategy.is_data:
            samples = batch // nodes
            node, timing = self.training(samples), self.timing(samples, nodes, seed=seed)
            reads = None
        else:
            divided = self.under_strategy(batch, nodes, seed=seed)
            node, timing = divided.node, divided.timing
            reads = divided.reading_nodes, divided.samples_per_reading_node
        return predict_step(
            node=node,
            timing=timing,
            machine=self.machine,
            mapping=mapping,
            global_batch=batch,
            nodes=nodes,
            stored=facts.stored,
            numbers=facts.sample_numbers,
            train_size=facts.train_size,
            reads=reads,
        )

    def answering(self, samples: int) -> NodeAnswer:
        """A batch of inference of ``samples`` samples on a node. Raises BadInput as :meth:`training`."""
        from_scratch = lambda: _answering(self, samples)  # noqa: E731
        return self._kept(self._key("node answer", samples), node_answer_of, from_scratch)

    def under_strategy(self, global_batch: int, nodes: int, *, seed: int | None = None) -> StrategyTiming:
        """The step of ``global_batch`` samples on ``nodes`` nodes under the mapping's parallel strategy.

        ``seed``: as for :meth:`timing`. Raises BadInput where the strategy divides neither ranks, samples nor model,
        and as :meth:`training`.
        """
        from workloads.parallel.strategy_timing import strategy_timing_of

        from_scratch = lambda: _under_strategy(self.setup, global_batch, nodes, seed)  # noqa: E731
        noise = None if seed is None else (self.machine.noise, seed)
        which = (global_batch, nodes, self.machine.network, self.mapping, noise)
        return self._kept(self._key("strategy step", which), strategy_timing_of, from_scratch)

    def _key(self, what: str, which: object) -> str:
        mapping = {each.name: getattr(self.mapping, each.name) for each in fields(self.mapping)}
        mapping = {name: value for name, value in mapping.items() if name not in NOT_OF_A_NODE}
        computing = self.machine.computing
        parts = (SCHEMA, what, code_digest(), self.digest, computing, self.planned, sorted(mapping.items()), which)
        return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()

    def _kept(self, name: str, decode: Callable[[Mapping[str, Any]], Kept], make: Callable[[], Kept]) -> Kept:
        found: Kept | None = self.known.get(name)
        if found is None and self.store is not None:
            found = self.store.find(name, decode)
        if found is None:
            found = make()
            if self.store is not None:
                self.store.write(name, json.dumps(found.as_json()))
        self.known[name] = found
        return found


def _facts(steps: NodeSteps) -> WorkloadFacts:
    from workloads.facts import workload_facts

    return workload_facts(steps.setup.workload if steps.machine.roofline is None else steps.source.load())


def _training(steps: NodeSteps, samples: int) -> NodeStep:
    if steps.machine.roofline is not None:
        from taihusim.roofline_programs import training_devices

        return training_devices(steps, devices=steps.machine.roofline, samples=samples)
    from taihusim.node_programs import training_node

    return training_node(steps.setup, samples=samples)


def _under_strategy(setup: Setup, global_batch: int, nodes: int, seed: int | None) -> StrategyTiming:
    from taihusim.strategy_programs import strategy_step

    return strategy_step(setup, global_batch=global_batch, nodes=nodes, seed=seed)


def _answering(steps: NodeSteps, samples: int) -> NodeAnswer:
    if steps.machine.roofline is not None:
        from taihusim.roofline_programs import answering_devices

        return answering_devices(steps, devices=steps.machine.roofline, samples=samples)
    from taihusim.node_programs import answering_node

    return answering_node(steps.setup, samples=samples)
