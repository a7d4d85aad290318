"""A step under a strategy that does not fit a core group's memory, and what would fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from nnlib.optim.optimizers import Optimizer
from sim.problems import Problem
from taihusim.memory_problem import RECOMPUTE, SINGLE, capacity_problem, parts_in_words
from taihusim.setup import Setup
from workloads.jobs.node_step import NodeMemory
from workloads.mapping import Mapping
from workloads.parallel.lowered import LoweredStrategy, lowered_again
from workloads.parallel.step import memory_of
from workloads.words import memory_in_words


class Fits(Protocol):
    """Whether a step fits under a mapping, with so many samples in a micro-batch of a replica, and so many of these."""

    def __call__(self, changed: Mapping, *, samples: int = ..., parts: int = ...) -> bool: ...


def heaviest_stage(lowered: LoweredStrategy, optimizer: Optimizer) -> tuple[int, NodeMemory]:
    """The stage that needs most memory, and how much a core group of it needs."""
    memories = [memory_of(lowered, stage, optimizer) for stage in range(lowered.stages.count)]
    stage = max(range(len(memories)), key=lambda number: memories[number].total)
    return stage, memories[stage]


def strategy_memory_problem(setup: Setup, lowered: LoweredStrategy, *, nodes: int) -> Problem:
    """What the heaviest stage needs, and what would fit with the same stages."""
    stage, memory = heaviest_stage(lowered, setup.workload.recipe.optimizer)
    stretch = lowered.stages.nodes(stage)
    first, last = (lowered.division.origin[node.name] for node in (stretch[0], stretch[-1]))
    fits = [words for words in _ways(setup, lowered, nodes) if words]
    where = "with stages cut there " if lowered.stages.count > 1 else ""
    way_out = (
        f"what fits {where}is {', or '.join(fits)}" if fits else "more stages (pipeline=) or ranks to a layer (tensor=)"
    )
    expected = (
        f"at least {memory_in_words(memory.total)} per core group for stage {stage + 1}, layers {first!r} to {last!r} "
        f"({parts_in_words(memory)}); {way_out}"
    )
    return capacity_problem(setup, expected)


def _ways(setup: Setup, lowered: LoweredStrategy, nodes: int) -> Iterator[str | None]:
    """Words for each change that alone makes the step fit."""
    mapping, samples, parts = lowered.timer.mapping, lowered.samples, lowered.micro_batches

    def fits(changed: Mapping, *, samples: int = samples, parts: int = parts) -> bool:
        again = lowered_again(lowered, mapping=changed, samples=samples, micro_batches=parts)
        needed = heaviest_stage(again, setup.workload.recipe.optimizer)[1].total
        return needed <= setup.machine.processor.memory.bytes

    if not mapping.optimizer_sharding and lowered.replicas > 1:
        yield "optimizer_sharding" if fits(replace(mapping, optimizer_sharding=True)) else None
    if not mapping.recompute:
        yield RECOMPUTE if fits(replace(mapping, recompute=True)) else None
    if mapping.precision == "fp64":
        yield SINGLE if fits(replace(mapping, precision="fp32")) else None
    finer = [count for count in range(parts + 1, samples * parts + 1) if samples * parts % count == 0]
    yield next(
        (f"micro_batches={count}" for count in finer if fits(mapping, samples=samples * parts // count, parts=count)),
        None,
    )
    yield _smaller_batch(lowered, nodes, fits)


def _smaller_batch(lowered: LoweredStrategy, nodes: int, fits: Fits) -> str | None:
    """The largest batch that fits in as many micro-batches."""
    low, high = 0, lowered.samples
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(lowered.timer.mapping, samples=middle) else (low, middle)
    for samples in range(low, 0, -1):
        total = samples * lowered.micro_batches * lowered.replicas
        parts = f" in {lowered.micro_batches} micro-batches" if lowered.micro_batches > 1 else ""
        if lowered.timer.mapping.global_batch is not None:
            return f"--global-batch {total}{parts}"
        if total % nodes == 0:
            return f"--batch-per-node {total // nodes}{parts}"
    return None
