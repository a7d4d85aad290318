"""Main memory that a stage of a pipeline needs on each core group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from nnlib.optim.optimizers import Optimizer
from nnlib.precision import DTYPES, DTypeName
from nnlib.program import Program
from nnlib.update import state_kinds
from workloads.jobs.node_memory import largest_bucket
from workloads.jobs.node_step import NodeMemory
from workloads.parallel.pipeline import Stages, in_flight


@dataclass(frozen=True, kw_only=True)
class StageMemory:
    """What decides a stage's memory beside its program.

    ``sharers`` core groups of a node share out the optimiser's state, and so do ``shards`` replicas.
    """

    optimizer: Optimizer
    dtype: DTypeName
    bucket_bytes: int
    micro_batches: int
    sharers: int
    shards: int

    def of(self, program: Program, stages: Stages, stage: int) -> NodeMemory:
        """Memory for ``program``, which is lowered for a micro-batch of a core group.

        A stage keeps the activations of every micro-batch in flight; of more than one it adds up the gradients, which
        takes a second set of them. Samples of the whole step are there, and those of the next.
        """
        graph, item = stages.graph, DTYPES[self.dtype].itemsize
        parameters = [prod(graph.parameters[name]) for name in stages.parameters[stage]]
        names = {full for node in stages.nodes(stage) for full in graph.variable_names[node.name].values()}
        statistics = sum(prod(graph.statistics[name]) for name in names if name in graph.statistics)
        uses = _uses(program, stages, stage)
        kept, peak = _activations(program, uses)
        flying = in_flight(stages=stages.count, stage=stage, micro_batches=self.micro_batches)
        inputs = sum(program.buffers[name].nbytes for name in uses if program.buffers[name].role == "input")
        sets = 1 if self.micro_batches == 1 else 2
        share = self.sharers * self.shards
        return NodeMemory(
            weights=item * (sum(parameters) + 2 * statistics),
            gradients=sets * item * sum(parameters),
            optimiser=len(state_kinds(self.optimizer)) * item * -(-sum(parameters) // share),
            activations=(flying - 1) * kept + peak,
            buffers=2 * self.micro_batches * inputs + largest_bucket(parameters, item=item, limit=self.bucket_bytes),
        )


def _uses(program: Program, stages: Stages, stage: int) -> dict[str, tuple[int, int, bool]]:
    """For each buffer of the stage's launches: first and last of them, counted in the stage, and if it lasts from the
    forward pass to the backward pass."""
    found: dict[str, tuple[int, int, bool]] = {}
    number = 0
    forward_ends: int | None = None
    for launch in program.launches:
        if stages.of.get(launch.layer, stages.count - 1) != stage:
            continue
        if launch.phase != "forward" and forward_ends is None:
            forward_ends = number
        for buffer in launch.arguments.values():
            first = found.get(buffer, (number, number, False))[0]
            found[buffer] = first, number, forward_ends is not None and first < forward_ends
        number += 1
    # what the program keeps to its end, the stage keeps to its own
    end = len(program.launches) - 1
    kept = [name for name in found if program.buffers[name].last == end]
    return found | {name: (found[name][0], number - 1, found[name][2]) for name in kept}


def _activations(program: Program, uses: Mapping[str, tuple[int, int, bool]]) -> tuple[int, int]:
    """Bytes that a micro-batch leaves between its passes, and the most that it has at a time."""
    sizes = {name: program.buffers[name].nbytes for name in uses if program.buffers[name].role == "activation"}
    kept = sum(size for name, size in sizes.items() if uses[name][2])
    steps: dict[int, int] = {}
    for name, size in sizes.items():
        first, last, _ = uses[name]
        steps[first] = steps.get(first, 0) + size
        steps[last + 1] = steps.get(last + 1, 0) - size
    peak = now = 0
    for place in sorted(steps):
        now += steps[place]
        peak = max(peak, now)
    return kept, peak
