"""A step that does not fit a core group's memory, and the ways out: a smaller batch, recomputation, precision."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from nnlib.program import Program
from sim.problems import Problem
from taihusim.precision import inference_program, training_program
from taihusim.setup import Setup
from workloads.jobs.node_memory import Need, largest_batch, node_memory
from workloads.jobs.node_step import NodeMemory
from workloads.mapping import Mapping
from workloads.words import memory_in_words, size_in_words

RECOMPUTE: Final = "--set mapping.recompute=true"
SINGLE: Final = "--precision fp32"


def parts_in_words(memory: NodeMemory) -> str:
    """What fills the memory: ``weights 205 MB, gradients ...``."""
    parts = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimiser": memory.optimiser,
        "activations": memory.activations,
        "buffers": memory.buffers,
    }
    return ", ".join(f"{name} {size_in_words(size)}" for name, size in parts.items())


def capacity_problem(setup: Setup, expected: str) -> Problem:
    """The memory that there is, beside what is ``expected``."""
    found = memory_in_words(setup.machine.processor.memory.bytes)
    return Problem(
        file=f"machine {setup.machine.name}", key="processor.memory.capacity", value=found, expected=expected
    )


def step_memory(setup: Setup, *, part: int) -> NodeMemory:
    """Memory of a step with ``part`` samples on each core group."""
    return _memory(setup, training_program(setup, batch=part), part)


def _need(setup: Setup, part: int) -> Need:
    """The same in all, and what any larger part needs too."""
    program = training_program(setup, batch=part)
    total = _memory(setup, program, part).total
    return Need(total, total - program.memory_bytes + program.certain_bytes)


def _memory(setup: Setup, program: Program, part: int) -> NodeMemory:
    sharers = setup.timer(part * setup.machine.processor.core_groups).sharers
    optimizer = setup.workload.recipe.optimizer
    return node_memory(program=program, optimizer=optimizer, mapping=setup.mapping, sharers=sharers)


def memory_problem(setup: Setup, memory: NodeMemory, *, samples: int, least: int) -> Problem:
    """What a step of ``samples`` samples per node needs, and what would fit.

    ``least``: samples that a core group needs for the network to learn at all.
    """
    part, groups = setup.core_group_samples(samples), setup.machine.processor.core_groups
    available = setup.machine.processor.memory.bytes
    fewer = largest_batch(lambda batch: _need(setup, batch), batch=part, available=available, least=least)
    fits, needed = [] if fewer is None else [f"--batch-per-node {fewer * groups}"], memory.total
    lighter = _lighter(setup.mapping)
    for flags, mapping in lighter.items():
        if len(flags) > 1 and set(flags) & set(fits):
            continue  # one of them does already
        needed = step_memory(replace(setup, mapping=mapping), part=part).total
        if needed <= available:
            fits.append(" ".join(flags))
    way_out = f"what fits: {', or '.join(fits)}"
    if not fits:
        way_out = "no smaller batch fits"
        if lighter:
            way_out += f", and {' '.join(flags)} still needs {memory_in_words(needed)}"
    expected = (
        f"at least {memory_in_words(memory.total)} per core group for {samples:,} samples per node "
        f"({parts_in_words(memory)}); {way_out}"
    )
    return capacity_problem(setup, expected)


def answer_problem(setup: Setup, program: Program, *, samples: int) -> Problem:
    """What a batch of inference of ``samples`` samples per node needs, and the largest that fits."""

    def need(batch: int) -> Need:
        smaller = inference_program(setup, batch=batch)
        return Need(smaller.memory_bytes, smaller.certain_bytes)

    part, groups = setup.core_group_samples(samples), setup.machine.processor.core_groups
    fewer = largest_batch(need, batch=part, available=setup.machine.processor.memory.bytes)
    way_out = "no smaller batch fits" if fewer is None else f"what fits: {fewer * groups:,} per node"
    needed = f"at least {memory_in_words(program.memory_bytes)} per core group for a batch of {samples:,} per node"
    return capacity_problem(setup, f"{needed}; {way_out}")


def _lighter(mapping: Mapping) -> dict[tuple[str, ...], Mapping]:
    """Mappings of a step that needs less memory, by the flags that ask for them; all of it comes last."""
    single = {}
    if not mapping.recompute:
        single[RECOMPUTE] = replace(mapping, recompute=True)
    if mapping.precision == "fp64":
        single[SINGLE] = replace(mapping, precision="fp32")
    found: dict[tuple[str, ...], Mapping] = {(flag,): each for flag, each in single.items()}
    if len(single) == 2:
        found[tuple(single)] = replace(mapping, recompute=True, precision="fp32")
    return found
