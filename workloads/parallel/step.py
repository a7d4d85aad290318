"""The time of one training step under a strategy, from the launches of each stage's ranks to the last one's finish.

Replicas and the ranks of a tensor group do the same at the same time, so one rank of each stage stands for all of its
stage until gradients are reduced over the replicas, where every rank has its own clock. Shares and a node's activity
are means over the stages, which have equally many ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nnlib.optim.clip import Clip
from nnlib.optim.optimizers import Optimizer
from nnlib.parts import PARTS, Part
from nnlib.precision import DTYPES
from sim.chip.processor import add_shares
from sim.network.schemes import Scheme
from sim.network.slow_links import with_slow_links
from sim.network.topology import Topology
from workloads.jobs.node_step import NodeMemory, NodeStep
from workloads.jobs.node_timer import busiest_label
from workloads.jobs.training_step import StepTiming
from workloads.parallel.group_times import GroupTimes
from workloads.parallel.late_ranks import Late, late_passes
from workloads.parallel.lowered import LoweredStrategy
from workloads.parallel.pipeline_times import PipelineTimes, latest, pipeline_times
from workloads.parallel.placement import NEAR, Placement
from workloads.parallel.stage_gradients import GradientEnd, StageEnd
from workloads.parallel.stage_memory import StageMemory
from workloads.parallel.stage_step import StageStep, Tally
from workloads.parallel.stage_work import stage_work
from workloads.parallel.strategy_timing import StageTiming, StrategyTiming


@dataclass(frozen=True, kw_only=True)
class _Run:
    """When each stage's gradients are complete in its nodes and what follows, until ``finish`` of the last rank."""

    passes: PipelineTimes
    ends: tuple[StageEnd, ...]
    tied_bytes: int

    @property
    def finish(self) -> float:
        return max(each.finish for each in self.ends)

    @property
    def exposed(self) -> float:
        """What a rank waits for sums over the replicas and for new weights, on average."""
        return _mean([each.exposed for each in self.ends])


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """The stages with ranks placed in one way, and their run."""

    end: GradientEnd
    steps: list[StageStep]
    run: _Run


def time_strategy(
    lowered: LoweredStrategy,
    *,
    optimizer: Optimizer,
    scheme: Scheme,
    nodes: int,
    clip: Clip | None = None,
    seed: int | None = None,
) -> StrategyTiming:
    """The step of ``lowered`` on ``nodes`` nodes, on which all ranks start together, placed as is faster.

    ``seed``: ranks are unequal and links slow, as the machine's noise has it, and which they are is drawn from it.
    """
    timer, count = lowered.timer, lowered.stages.count
    machine, mapping, noise = timer.machine, timer.mapping, timer.machine.noise
    topology = Topology(network=machine.network, nodes=nodes, ranks_per_node=mapping.ranks_per_node)
    topology = topology if seed is None else with_slow_links(topology, noise, seed=seed)
    placed = []
    for near in NEAR if count > 1 and lowered.replicas > 1 else NEAR[:1]:
        placement = Placement(tensor=lowered.strategy.tensor, stages=count, replicas=lowered.replicas, near=near)
        item = DTYPES[mapping.dtype].itemsize
        times = GroupTimes(topology=topology, placement=placement, scheme=scheme, item_bytes=item)
        placed.append(_placed(GradientEnd(lowered=lowered, times=times, optimizer=optimizer, clip=clip)))
    best = min(placed, key=lambda each: each.run.finish)
    end, steps, run = best.end, best.steps, best.run
    times, found = end.times, run
    parts, once = lowered.micro_batches, timer.once()
    # the same without messages: what is left of waiting is the bubble
    silent = [replace(step.seconds(), send=0.0, give_back=0.0) for step in steps]
    apart = pipeline_times(silent, micro_batches=parts)
    if seed is not None:
        spawned = sum(segment.seconds for segment in once)
        computing = [step.passes(each.update, once=spawned) for step, each in zip(steps, run.ends, strict=True)]
        found = _run(
            end,
            steps,
            late_passes(noise, computing, placement=times.placement, ranks_per_node=mapping.ranks_per_node, seed=seed),
        )
    seconds = found.finish + sum(segment.seconds for segment in once)
    tallies: list[Tally] = [[*step.launched, (1, each.update)] for step, each in zip(steps, run.ends, strict=True)]
    waits = [latest(apart.ends[stage]) - latest(apart.busy[stage]) for stage in range(count)]
    bubble = _mean([wait + run.finish - each.finish for wait, each in zip(waits, run.ends, strict=True)])
    handed = _mean([latest(late) - latest(early) for late, early in zip(run.passes.ends, apart.ends, strict=True)])
    exchanged, reduced = _mean([step.exchange_seconds for step in steps]), found.exposed
    under_way = _mean([parts * sum(message for message, _ in step.messages) for step in steps])
    moved = sum(step.moved_bytes for step in steps) + sum(each.moved_bytes for each in run.ends) + run.tied_bytes
    node = _node(lowered, steps, run.ends, tallies, optimizer, times.item_bytes)
    exposed = exchanged + handed + reduced
    reading, most = times.placement.reading(ranks_per_node=mapping.ranks_per_node)
    jitter = found.finish - run.finish - (found.exposed - run.exposed)
    shares = {**node.reasons, "communication_exposed": exposed}
    if count > 1:
        shares["pipeline_bubble"] = bubble
    if seed is not None:
        shares["jitter"] = jitter
    return StrategyTiming(
        timing=StepTiming(
            seconds=seconds,
            # a message that one stage waits for holds up others too
            communication_seconds=max(exposed, exchanged + under_way + _mean([each.under_way for each in found.ends])),
            communication_exposed_seconds=exposed,
            shares={name: value / seconds for name, value in shares.items()},
            busiest=node.busiest,
            launches=node.launches,
            launch_seconds=timer.launch_seconds,
            gradient_bytes=times.item_bytes * max(_parameters(step) for step in steps),
            ranks=times.topology.ranks,
            network_bytes=2 * moved / nodes,
        ),
        node=node,
        replicas=lowered.replicas,
        near=times.placement.near if len(placed) > 1 else None,
        reading_nodes=reading,
        samples_per_reading_node=most * parts * lowered.samples,
        micro_batches=parts,
        samples_per_micro_batch=lowered.samples,
        stages=tuple(_stage_timing(lowered, step, optimizer) for step in steps),
        bubble_seconds=bubble,
        tensor_seconds=exchanged,
        pipeline_seconds=handed,
        replica_seconds=reduced,
        jitter_seconds=jitter,
        replicated=dict(lowered.division.replicated),
    )


def _placed(end: GradientEnd) -> _Placed:
    lowered = end.lowered
    works = stage_work(
        timer=lowered.timer, program=lowered.program, stages=lowered.stages, samples=lowered.samples, times=end.times
    )
    steps = [StageStep(lowered=lowered, end=end, stage=stage, work=work) for stage, work in enumerate(works)]
    return _Placed(end=end, steps=steps, run=_run(end, steps))


def _run(end: GradientEnd, steps: Sequence[StageStep], late: Sequence[Late] | None = None) -> _Run:
    """All stages' passes, whose replicas are ``late``, and what follows."""
    lates: Sequence[Late | None] = late or [None] * len(steps)
    stage_seconds = [step.seconds(each) for step, each in zip(steps, lates, strict=True)]
    passes = pipeline_times(stage_seconds, micro_batches=end.lowered.micro_batches)
    computed = [passes.ends[step.stage] + step.sum_seconds for step in steps]
    tied, tied_bytes = end.tied_ready(computed)
    ends = []
    for step, each in zip(steps, lates, strict=True):
        begin = passes.last_begins[step.stage] + (0.0 if each is None else each.backward)
        ends.append(end.end(step.stage, messages=step.sent(begin), computed=computed[step.stage], tied=tied))
    return _Run(passes=passes, ends=tuple(ends), tied_bytes=tied_bytes)


def memory_of(lowered: LoweredStrategy, stage: int, optimizer: Optimizer) -> NodeMemory:
    """Bytes that a core group of a stage needs."""
    mapping = lowered.timer.mapping
    memory = StageMemory(
        optimizer=optimizer,
        dtype=mapping.dtype,
        bucket_bytes=mapping.bucket_bytes,
        micro_batches=lowered.micro_batches,
        sharers=lowered.timer.sharers,
        shards=lowered.replicas if lowered.strategy.optimizer_sharding else 1,
    )
    return memory.of(lowered.program, lowered.stages, stage)


def _node(
    lowered: LoweredStrategy,
    steps: Sequence[StageStep],
    ends: Sequence[StageEnd],
    tallies: Sequence[Tally],
    optimizer: Optimizer,
    item: int,
) -> NodeStep:
    """What a node does, on average over the stages; memory is that of the stage that needs most."""
    parts, count, timer = lowered.micro_batches, len(steps), lowered.timer
    segments = [(number, segment) for tally in tallies for number, several in tally for segment in several]
    reasons: dict[str, float] = {}
    for number, segment in segments:
        for name, seconds in segment.shares.items():
            reasons[name] = reasons.get(name, 0.0) + number * seconds / count
    for name, seconds in add_shares(timer.once()).items():
        reasons[name] = reasons.get(name, 0.0) + seconds
    by_part: dict[Part, float] = dict.fromkeys(PARTS, 0.0)
    for step in steps:
        for part, seconds in step.work.by_part.items():
            by_part[part] += parts * seconds / count
    by_part["others"] += sum(reasons.values()) - sum(by_part.values())
    update = _mean([sum(segment.seconds for segment in each.update) for each in ends])
    timed = list(timer.program(lowered.program))
    return NodeStep(
        samples=lowered.together * parts,
        active_core_groups=timer.active_core_groups,
        forward_seconds=parts * _mean([step.work.forward_seconds for step in steps]),
        backward_seconds=parts * _mean([step.work.backward_seconds for step in steps]),
        gradient_seconds=sum(reasons.values()) - update,
        update_seconds=update,
        buckets=(),
        blobs=(),
        reasons=reasons,
        by_part=dict(by_part.items()),
        memory=max((memory_of(lowered, step.stage, optimizer) for step in steps), key=lambda memory: memory.total),
        flops=parts * timer.flops(lowered.program) // count,
        moved_bytes=sum(number * segment.memory_bytes for number, segment in segments) // count,
        busiest=busiest_label(timed),
        launches=sum(number for number, segment in segments if set(segment.shares) != {"group_sync"}) // count,
        launch_seconds=timer.launch_seconds,
        item_bytes=item,
    )


def _stage_timing(lowered: LoweredStrategy, step: StageStep, optimizer: Optimizer) -> StageTiming:
    nodes = lowered.stages.nodes(step.stage)
    origin = lowered.division.origin
    return StageTiming(
        first_layer=origin[nodes[0].name],
        last_layer=origin[nodes[-1].name],
        forward_seconds=step.work.forward_seconds,
        backward_seconds=step.work.backward_seconds,
        exchange_seconds=step.exchange_seconds,
        parameters=_parameters(step),
        memory=memory_of(lowered, step.stage, optimizer),
    )


def _parameters(step: StageStep) -> int:
    return sum(blob.elements for blob in step.work.blobs)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
