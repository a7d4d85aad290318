"""How long the host takes for steps under parallel strategies, and for their numbers.

Beside the recurrence of a pipeline stands its simulation by processes and messages, beside a strategy's numbers those
of one rank.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measure import side_by_side, verdict

sys.path.insert(0, str(Path(__file__).parents[1]))  # the reference is part of the tests

from nnlib.batch import Batch
from nnlib.layers.layer import Run
from nnlib.models.transformer import gpt2
from sim.network.schemes import scheme
from taihusim.setup import prepare
from tests.workloads.parallel.pipeline_reference import simulate_pipeline
from workloads.parallel.execution import Execution
from workloads.parallel.lowered import lower_strategy
from workloads.parallel.pipeline import cut_into_stages
from workloads.parallel.pipeline_times import StageSeconds, pipeline_times
from workloads.parallel.schedules import Collectives
from workloads.parallel.step import time_strategy
from workloads.parallel.tensor import divide

NODES = 40_960
STAGES, PARTS = 32, 256
STEP_SECONDS = 3.0
SIMULATION_FRACTION = 0.25
ONE_RANK_TIMES = 20.0


def step() -> Callable[[], object]:
    """A hybrid step of a small network on the whole machine, kernels and stages known."""
    setup = prepare(workload="digits", mapping_flags=["strategy=tensor=4,pipeline=4,optimizer_sharding"])
    chosen = scheme(setup.mapping.communication, network=setup.machine.network)
    lowered = lower_strategy(
        model=setup.model,
        strategy=setup.mapping.strategy,
        machine=setup.machine,
        mapping=setup.mapping,
        clock=setup.clock,
        scheme=chosen,
        nodes=NODES,
        global_batch=setup.step_samples(NODES),
    )
    return lambda: time_strategy(lowered, optimizer=setup.workload.recipe.optimizer, scheme=chosen, nodes=NODES)


def numbers() -> dict[str, Callable[[], object]]:
    """Gradients of a small transformer, by one rank and by 16."""
    model = gpt2(vocabulary=64, steps=16, positions=16, width=64, heads=4, layers=4)
    rng = np.random.default_rng(0)
    variables = model.initialise(rng, np.dtype(np.float64))
    tokens = rng.integers(0, 64, (32, 16))
    batch, weights, run = Batch({"tokens": tokens}, {"next": tokens}), np.ones(32), Run(training=True)
    division = divide(model, 4)
    ranks = Execution(
        source=model,
        division=division,
        stages=cut_into_stages(division.graph, [1.0] * len(division.graph.nodes), 2),
        collectives=Collectives(algorithm="halving_doubling", network=prepare(workload="digits").machine.network),
        replicas=2,
        micro_batches=4,
        together=4,
    )
    return {
        "numbers, one rank": lambda: model.gradients(variables, batch, weights, run=run),
        "numbers, 4 x 2 x 2 virtual ranks": lambda: ranks.gradients(variables, batch, weights, run),
    }


def main() -> int:
    stages = [StageSeconds(forward=1.0 + 0.1 * (stage % 3), backward=2.0, send=0.3) for stage in range(STAGES)]
    candidates = {
        f"hybrid step on {NODES:,} nodes": step(),
        f"{STAGES} stages, {PARTS} micro-batches": lambda: pipeline_times(stages, micro_batches=PARTS),
        "the same by processes": lambda: simulate_pipeline(stages, micro_batches=PARTS),
        **numbers(),
    }
    seconds = side_by_side(candidates, rounds=3)
    for name, value in seconds.items():
        print(f"  {name:<52}{1e3 * value:9.1f} ms")
    hybrid, recurrence, processes, one, many = seconds.values()
    held = verdict(f"hybrid step on {NODES:,} nodes, warm", hybrid, STEP_SECONDS, " s")
    held &= verdict("recurrence against processes", recurrence / processes, SIMULATION_FRACTION, "x")
    held &= verdict("16 virtual ranks against one rank", many / one, ONE_RANK_TIMES, "x")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
