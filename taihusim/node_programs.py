"""What a node does, from its program: lowered, checked against memory and LDM, timed."""

from __future__ import annotations

from nnlib.kernels.kernel import InfeasiblePlan
from sim.problems import BadInput
from taihusim.least_batch import batch_problem, least_batch
from taihusim.memory_problem import answer_problem, memory_problem
from taihusim.precision import inference_program, training_program
from taihusim.setup import Setup
from taihusim.tile_problem import tile_problem
from workloads.jobs.node_answer import NodeAnswer
from workloads.jobs.node_build import build_node_answer, build_node_step
from workloads.jobs.node_memory import node_memory
from workloads.jobs.node_step import NodeStep


def training_node(setup: Setup, *, samples: int) -> NodeStep:
    """A node's step with ``samples`` samples. Raises BadInput if memory or LDM do not suffice."""
    part, timer, recipe = setup.core_group_samples(samples), setup.timer(samples), setup.workload.recipe
    layer, least = least_batch(setup.graph)
    smallest = samples % part or part
    if smallest < least:
        raise BadInput([batch_problem(setup, samples, layer=layer, least=least)])
    key = setup.mapping, setup.clock.planned, part
    program = setup.programs.get(key) or training_program(setup, batch=part)
    setup.programs[key] = program
    memory = node_memory(program=program, optimizer=recipe.optimizer, mapping=setup.mapping, sharers=timer.sharers)
    if memory.total > setup.machine.processor.memory.bytes:
        raise BadInput([memory_problem(setup, memory, samples=samples, least=least)])
    setup.check_tiles(program)
    try:
        return build_node_step(
            timer=timer,
            program=program,
            samples=part,
            optimizer=recipe.optimizer,
            clip=recipe.clip,
        )
    except InfeasiblePlan as error:
        raise BadInput([tile_problem(setup.machine, error, place="in the optimiser's update")]) from None


def answering_node(setup: Setup, *, samples: int) -> NodeAnswer:
    """A batch of inference of ``samples`` samples on a node. Raises BadInput as :func:`training_node`."""
    program = inference_program(setup, batch=setup.core_group_samples(samples))
    available = setup.machine.processor.memory.bytes
    if program.memory_bytes > available:
        raise BadInput([answer_problem(setup, program, samples=samples)])
    setup.check_tiles(program)
    return build_node_answer(timer=setup.timer(samples), program=program, outputs=setup.graph.outputs)
