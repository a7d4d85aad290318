"""A training step with all that surrounds it: a node's work, gradients, input, unequal nodes, and the energy of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.machine.spec import MachineSpec
from sim.power.energy import Energy, energy
from workloads.datasets.storage import StoredSample
from workloads.jobs.input_pipeline import InputPlan, InputTiming, check_resident, input_timing, loading_seconds
from workloads.jobs.node_step import NodeStep
from workloads.jobs.step_energy import step_activity
from workloads.jobs.training_step import StepTiming
from workloads.mapping import Mapping as WorkloadMapping


@dataclass(frozen=True, kw_only=True)
class PredictedStep:
    """A step on ``nodes`` nodes. ``timing`` is that of nodes whose samples are there when they need them.

    ``input_seconds``: what waiting for samples adds to it; ``loading_seconds``: of reading the data into the nodes'
    memory before the first step, None where each step reads its own. ``seconds`` is all of it, of which ``shares`` add
    up to 1; ``energy`` that of all nodes.
    """

    nodes: int
    global_batch: int
    node: NodeStep
    timing: StepTiming
    input: InputTiming
    input_seconds: float
    loading_seconds: float | None
    seconds: float
    shares: Mapping[str, float]
    energy: Energy

    @property
    def samples_per_second(self) -> float:
        """Of all nodes."""
        return self.global_batch / self.seconds

    @property
    def communication_share(self) -> float:
        """Of the step, in which gradients were under way, hidden or not."""
        return min(1.0, self.timing.communication_seconds / self.seconds)

    @property
    def flops_per_second(self) -> float:
        """Of all nodes."""
        return self.node.flops * self.nodes / self.seconds


def predict_step(
    *,
    node: NodeStep,
    timing: StepTiming,
    machine: MachineSpec,
    mapping: WorkloadMapping,
    global_batch: int,
    nodes: int,
    stored: StoredSample,
    numbers: int,
    train_size: int | None,
    reads: tuple[int, int] | None = None,
) -> PredictedStep:
    """The step of ``timing`` with input and energy: ``global_batch`` samples on all nodes, each of ``numbers``
    for the network. ``reads``: how many nodes read how many samples each, if not all read their own.

    Raises BadInput where samples are to come from memory and the node's part of all ``train_size`` does not fit.
    """
    reading, samples = reads or (nodes, global_batch // nodes)
    # of samples that several nodes read, each has its own
    kept = -(-(train_size or 0) * samples * reading // global_batch)
    check_resident(
        machine=machine,
        mapping=mapping,
        stored=stored,
        samples=-(-kept * nodes // reading),
        nodes=nodes,
        step_bytes=node.memory.total,
    )
    plan = InputPlan.of(mapping)
    fetch = input_timing(
        machine=machine,
        plan=plan,
        stored=stored,
        numbers=numbers,
        samples=samples,
        nodes=reading,
        item_bytes=node.item_bytes,
    )
    waiting = fetch.exposed_seconds(timing.seconds)
    seconds = timing.seconds + waiting
    shares = {name: share * (timing.seconds / seconds) for name, share in timing.shares.items()}
    shares |= {"input": waiting / seconds}
    activity = step_activity(
        node=node,
        seconds=seconds,
        core_groups=machine.computing.compute_units,
        network_bytes=timing.network_bytes,
        storage_bytes=fetch.total_bytes / nodes,
    )
    return PredictedStep(
        nodes=nodes,
        global_batch=global_batch,
        node=node,
        timing=timing,
        input=fetch,
        input_seconds=waiting,
        loading_seconds=loading_seconds(machine=machine, plan=plan, stored=stored, samples=kept, nodes=reading)
        if plan.place == "memory"
        else None,
        seconds=seconds,
        shares=shares,
        energy=energy(machine, activity, nodes=nodes),
    )
