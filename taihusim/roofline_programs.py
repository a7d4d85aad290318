"""What a node with roofline devices does: its mapping checked, its memory checked, timed from the network."""

from __future__ import annotations

from sim.machine.roofline_spec import RooflineSpec
from sim.problems import BadInput, Problem
from taihusim.node_steps import NodeSteps
from workloads.jobs.node_answer import NodeAnswer
from workloads.jobs.node_memory import Need, largest_batch
from workloads.jobs.node_step import NodeStep
from workloads.jobs.roofline_step import roofline_answer, roofline_step
from workloads.mapping import Mapping
from workloads.words import memory_in_words


def training_devices(steps: NodeSteps, *, devices: RooflineSpec, samples: int) -> NodeStep:
    """A node's step with ``samples`` samples. Raises BadInput for what devices cannot do, or where memory is short."""
    _check(steps.mapping, devices)
    workload = steps.source.load()
    model, recipe = workload.model.built, workload.recipe

    def step(count: int) -> NodeStep:
        return roofline_step(
            model=model,
            machine=steps.machine,
            devices=devices,
            mapping=steps.mapping,
            samples=count,
            optimizer=recipe.optimizer,
            clip=recipe.clip,
        )

    found, available = step(samples), devices.memory_bytes
    if found.memory.total > available:
        each = found.samples

        def needed(part: int) -> Need:
            total = step(part * devices.devices).memory.total
            return Need(total, total)  # it only grows

        fewer = largest_batch(needed, batch=each, available=available)
        way_out = "no smaller batch fits" if fewer is None else f"what fits: --batch-per-node {fewer * devices.devices}"
        expected = (
            f"at least {memory_in_words(found.memory.total)} on each device for {samples:,} samples per node; {way_out}"
        )
        raise BadInput([_memory_problem(steps, available, expected)])
    return found


def answering_devices(steps: NodeSteps, *, devices: RooflineSpec, samples: int) -> NodeAnswer:
    """A batch of inference of ``samples`` samples on a node. Raises BadInput as :func:`training_devices`."""
    _check(steps.mapping, devices)
    model = steps.source.load().model.built
    found = roofline_answer(model=model, devices=devices, mapping=steps.mapping, samples=samples)
    if found.memory_bytes > devices.memory_bytes:
        expected = f"at least {memory_in_words(found.memory_bytes)} on each device for this batch; take a smaller one"
        raise BadInput([_memory_problem(steps, devices.memory_bytes, expected)])
    return found


def _memory_problem(steps: NodeSteps, available: int, expected: str) -> Problem:
    file = f"machine {steps.machine.name}"
    return Problem(file=file, key="processor.memory.capacity", value=memory_in_words(available), expected=expected)


def _check(mapping: Mapping, devices: RooflineSpec) -> None:
    """Raise BadInput for choices of a mapping that are about core groups."""
    wrong: list[tuple[str, object, str]] = []
    if mapping.precision not in ("fp32", "fp64"):
        wrong.append(("precision", mapping.precision, "fp32 or fp64"))
    if mapping.ranks_per_node != 1:
        wrong.append(("ranks_per_node", mapping.ranks_per_node, "1"))
    if mapping.recompute:
        wrong.append(("recompute", True, "false"))
    if wrong:
        file = f"mapping {mapping.name}"
        on = f" on nodes with {devices.name}, which are known by their peaks alone"
        raise BadInput(
            Problem(file=file, key=key, value=value, expected=expected + on) for key, value, expected in wrong
        )
