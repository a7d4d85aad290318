"""Host time and memory of timing one training step on the whole machine: 40,960 nodes of four ranks, a clock for each.

Timing only, with link contention, kernels already known. It may take 0.5 s and 1 GB, and with the default mapping, one
rank per node, ten times the nodes may take ten times as long. With four ranks the algorithm itself grows faster than
the nodes, in 38 steps instead of 28: that growth is printed beside the messages'.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable

import numpy as np
from measure import side_by_side, verdict

from machine_configs import DEFAULT_MACHINE
from sim.machine.load import load_machine
from sim.network.allreduce import ALGORITHMS
from sim.network.collectives import collective
from sim.network.protocol import Protocol
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.topology import Topology
from taihusim.options import Settings
from taihusim.setup import prepare
from workloads.jobs.training_step import time_step

NODES = 40_960
TENTH = 4_096
RANKS_PER_NODE = 4
COLLECTIVE = "halving_doubling"
OTHERS = tuple(name for name in ALGORITHMS if name not in (COLLECTIVE, "parameter_server"))  # ends at 4,096 ranks
ROUNDS = 11
SECONDS_LIMIT = 0.5
BYTES_LIMIT = 1e9
GROWTH_LIMIT = NODES / TENTH
RESNET50_PARAMETERS = 25_557_000
RESNET50_ITEM_BYTES = 4
MEASURE_MEMORY = "--memory"


def step(*, nodes: int, ranks_per_node: int, collective: str = COLLECTIVE) -> Callable[[], object]:
    """The timing of one step of the digits network; its kernels are timed here, once."""
    settings = Settings(mapping=("numerics=off", f"ranks_per_node={ranks_per_node}", f"collective={collective}"))
    setup = prepare(workload="digits", settings=settings)
    node = setup.steps.training(setup.samples_per_node(nodes))
    return lambda: time_step(node=node, machine=setup.machine, mapping=setup.mapping, nodes=nodes)


def messages(nodes: int) -> int:
    """Messages of a step's all-reduce with four ranks per node, empty ones included."""
    topology = Topology(network=load_machine(DEFAULT_MACHINE).network, nodes=nodes, ranks_per_node=RANKS_PER_NODE)
    return sum(len(step.source) for step in collective("allreduce", COLLECTIVE, topology=topology, elements=1).steps())


def resnet50(*, nodes: int, ranks_per_node: int) -> Callable[[], object]:
    """The timing of an all-reduce of ResNet-50's gradients, all in one bucket, all ranks starting together."""
    network = load_machine(DEFAULT_MACHINE).network

    def reduce() -> object:
        topology = Topology(network=network, nodes=nodes, ranks_per_node=ranks_per_node)
        return run(
            collective("allreduce", COLLECTIVE, topology=topology, elements=RESNET50_PARAMETERS),
            topology=topology,
            protocol=Protocol.of(network),
            reduction=ReductionCost.of(network),
            start=np.zeros(topology.ranks),
            item_bytes=RESNET50_ITEM_BYTES,
        )

    return reduce


def peak_bytes() -> int:
    """Most memory that a fresh process held to time one step on the whole machine, Python and imports included."""
    command = [sys.executable, __file__, MEASURE_MEMORY]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory() -> int:
    """What the fresh process does."""
    step(nodes=NODES, ranks_per_node=RANKS_PER_NODE)()
    unit = 1 if sys.platform == "darwin" else 1024
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    return 0


def main() -> int:
    if MEASURE_MEMORY in sys.argv[1:]:
        return measure_memory()
    # before this process grows: Linux counts what a parent held at the start of its child as the child's
    memory = peak_bytes()
    whole, tenth = f"{NODES:,} nodes x {RANKS_PER_NODE}", f"{TENTH:,} nodes x {RANKS_PER_NODE}"
    whole_one, tenth_one = f"{NODES:,} nodes x 1", f"{TENTH:,} nodes x 1"
    candidates = {
        whole: step(nodes=NODES, ranks_per_node=RANKS_PER_NODE),
        tenth: step(nodes=TENTH, ranks_per_node=RANKS_PER_NODE),
        whole_one: step(nodes=NODES, ranks_per_node=1),
        tenth_one: step(nodes=TENTH, ranks_per_node=1),
        **{f"{whole}, {name}": step(nodes=NODES, ranks_per_node=RANKS_PER_NODE, collective=name) for name in OTHERS},
        f"{whole}, ResNet-50's gradients": resnet50(nodes=NODES, ranks_per_node=RANKS_PER_NODE),
        f"{whole_one}, ResNet-50's gradients": resnet50(nodes=NODES, ranks_per_node=1),
    }
    seconds = side_by_side(candidates, rounds=ROUNDS)
    print(f"host time of a step's timing, nodes x ranks of each, {COLLECTIVE} unless named:")
    for name, value in seconds.items():
        print(f"  {name:<52}{1e3 * value:9.1f} ms")
    print(
        f"growth from {tenth} to {whole}: {seconds[whole] / seconds[tenth]:.1f} times, "
        f"messages {messages(NODES) / messages(TENTH):.1f} times"
    )
    held = verdict(f"{whole}, one step", seconds[whole], SECONDS_LIMIT, " s")
    held &= verdict(f"{whole}, peak memory of a fresh process", memory / 1e9, BYTES_LIMIT / 1e9, " GB")
    held &= verdict(
        f"growth from {tenth_one} to {whole_one}", seconds[whole_one] / seconds[tenth_one], GROWTH_LIMIT, "x"
    )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
