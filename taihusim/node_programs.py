"""What a node does, from its program: lowered, checked against memory and LDM, timed."""

from __future__ import annotations

from nnlib.kernels.kernel import InfeasiblePlan
from sim.problems import BadInput, Problem
from taihusim.precision import inference_program, training_program
from taihusim.setup import Setup
from taihusim.tile_problem import tile_problem
from workloads.jobs.node_answer import NodeAnswer
from workloads.jobs.node_build import build_node_answer, build_node_step
from workloads.jobs.node_memory import largest_batch, node_memory
from workloads.jobs.node_step import NodeMemory, NodeStep
from workloads.jobs.parts import layer_parts


def training_node(setup: Setup, *, samples: int) -> NodeStep:
    """A node's step with ``samples`` samples. Raises BadInput if memory or LDM do not suffice."""
    part, timer, recipe = setup.core_group_samples(samples), setup.timer(samples), setup.workload.recipe
    program = training_program(setup, batch=part)
    memory = node_memory(program=program, optimizer=recipe.optimizer, mapping=setup.mapping, sharers=timer.sharers)
    if memory.total > setup.machine.processor.memory.bytes:
        raise BadInput([_memory_problem(setup, memory, samples=samples)])
    setup.check_tiles(program)
    try:
        return build_node_step(
            timer=timer,
            program=program,
            samples=part,
            optimizer=recipe.optimizer,
            clip=recipe.clip,
            layers=layer_parts(setup.graph),
        )
    except InfeasiblePlan as error:
        raise BadInput([tile_problem(setup.machine, error, place="in the optimiser's update")]) from None


def answering_node(setup: Setup, *, samples: int) -> NodeAnswer:
    """A batch of inference of ``samples`` samples on a node. Raises BadInput as :func:`training_node`."""
    program = inference_program(setup, batch=setup.core_group_samples(samples))
    available = setup.machine.processor.memory.bytes
    if program.memory_bytes > available:
        expected = f"at least {program.memory_bytes} B per core group for this batch; take a smaller one"
        raise BadInput([_capacity(setup, expected)])
    setup.check_tiles(program)
    return build_node_answer(timer=setup.timer(samples), program=program, outputs=setup.graph.outputs)


def _memory_problem(setup: Setup, memory: NodeMemory, *, samples: int) -> Problem:
    """What a step needs, the largest batch that fits, and whether recomputation would do."""
    part, mapping = setup.core_group_samples(samples), setup.mapping
    groups, available = setup.machine.processor.core_groups, setup.machine.processor.memory.bytes

    def needed(batch: int, *, recompute: bool = mapping.recompute) -> int:
        program = training_program(setup, batch=batch, recompute=recompute)
        sharers = setup.timer(batch * groups).sharers
        optimizer = setup.workload.recipe.optimizer
        return node_memory(program=program, optimizer=optimizer, mapping=mapping, sharers=sharers).total

    fits = largest_batch(needed, batch=part, available=available)
    ways = ["even one sample per core group does not fit" if fits is None else f"--batch-per-node {fits * groups} fits"]
    if not mapping.recompute:
        again = needed(part, recompute=True)
        does = "fits" if again <= available else f"still needs {again} B"
        ways.append(f"--set mapping.recompute=true {does}")
    expected = (
        f"at least {memory.total} B per core group for {samples} samples per node (weights {memory.weights}, gradients "
        f"{memory.gradients}, optimiser {memory.optimiser}, activations {memory.activations}, buffers "
        f"{memory.buffers}); {'; '.join(ways)}"
    )
    return _capacity(setup, expected)


def _capacity(setup: Setup, expected: str) -> Problem:
    found = f"{setup.machine.processor.memory.bytes} B"
    return Problem(
        file=f"machine {setup.machine.name}", key="processor.memory.capacity", value=found, expected=expected
    )
