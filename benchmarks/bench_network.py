"""Host time of collectives on the whole machine: 163,840 ranks with a clock each, unequal starts, shared links.

An all-reduce of ResNet-50's gradients may take 0.25 s, on a topology that knows nothing yet. Ten times the ranks may
take ten times as long per step, and a message's size must not matter. Beside it the plain way on a size at which it
still runs: one SimPy process per rank.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from measure import side_by_side, verdict

from machine_configs import DEFAULT_MACHINE
from sim.machine.load import load_machine
from sim.network.collectives import collective
from sim.network.messages import simulate
from sim.network.protocol import Protocol
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.topology import Topology

NETWORK = load_machine(DEFAULT_MACHINE).network
PROTOCOL, REDUCTION = Protocol.of(NETWORK), ReductionCost.of(NETWORK)
NODES, RANKS_PER_NODE = 40_960, 4
ALGORITHMS = ("halving_doubling", "recursive_doubling", "binomial_tree", "hierarchical")
RESNET50_PARAMETERS = 25_557_000
ITEM_BYTES = 4
LONGEST_SKEW = 1e-3
SMALL_NODES = 64
ROUNDS = 7
SECONDS_LIMIT = 0.25
RING_LIMIT = 0.25
BASELINE_LIMIT = 0.1
"""Most time per message beside one process per rank."""
SIZE_LIMIT = 1.3
GROWTH_LIMIT = 12.0


def reduced(
    algorithm: str,
    *,
    nodes: int = NODES,
    ranks_per_node: int = RANKS_PER_NODE,
    elements: int = RESNET50_PARAMETERS,
    skew: float = LONGEST_SKEW,
    known: Topology | None = None,
) -> Callable[[], object]:
    """One all-reduce; on a new topology each time unless one is given."""
    start = np.random.default_rng(0).uniform(0, skew, nodes * ranks_per_node)

    def reduce() -> object:
        topology = known or Topology(NETWORK, nodes, ranks_per_node)
        return run(
            collective("allreduce", algorithm, topology=topology, elements=elements),
            topology=topology,
            protocol=PROTOCOL,
            reduction=REDUCTION,
            start=start,
            item_bytes=ITEM_BYTES,
        )

    return reduce


def messages(algorithm: str, *, nodes: int, ranks_per_node: int) -> int:
    """Messages of one all-reduce."""
    topology = Topology(NETWORK, nodes, ranks_per_node)
    return sum(
        len(step.source) for step in collective("allreduce", algorithm, topology=topology, elements=10**9).steps()
    )


def plain(algorithm: str) -> Callable[[], object]:
    """The same with a SimPy process per rank, without contention, on few nodes."""
    topology = Topology(NETWORK, SMALL_NODES, RANKS_PER_NODE, contention=False)
    start = np.random.default_rng(0).uniform(0, LONGEST_SKEW, topology.ranks)
    schedule = collective("allreduce", algorithm, topology=topology, elements=RESNET50_PARAMETERS)
    return lambda: simulate(
        schedule, topology=topology, protocol=PROTOCOL, reduction=REDUCTION, start=start, item_bytes=ITEM_BYTES
    )


def main() -> int:
    known = Topology(NETWORK, NODES, RANKS_PER_NODE)
    first = ALGORITHMS[0]
    candidates = {
        **{name: reduced(name) for name in ALGORITHMS},
        f"{first}, routes known": reduced(first, known=known),
        f"{first}, 4 kB": reduced(first, known=known, elements=10**3 * RANKS_PER_NODE),
        f"{first}, 100 GB": reduced(first, known=known, elements=25 * 10**9),
        f"{first}, a tenth of the nodes": reduced(first, nodes=NODES // 10),
        "ring, equal clocks": reduced("ring", skew=0.0),
        "ring, unequal clocks": reduced("ring"),
        "ring, 4,096 ranks, step by step": reduced("ring", nodes=4096, ranks_per_node=1),
        f"{first}, 256 ranks, a process each": plain(first),
    }
    seconds = side_by_side(candidates, rounds=ROUNDS, clock=time.process_time)
    print(f"host time (one thread) of one all-reduce, {NODES:,} nodes x {RANKS_PER_NODE} ranks unless said otherwise:")
    for name, value in seconds.items():
        print(f"  {name:<52}{1e3 * value:9.1f} ms")
    held = True
    for name in ALGORITHMS:
        held &= verdict(f"{name}, {NODES * RANKS_PER_NODE:,} ranks", seconds[name], SECONDS_LIMIT, " s")
    for name in ("ring, equal clocks", "ring, unequal clocks"):
        held &= verdict(f"{name}, {NODES * RANKS_PER_NODE:,} ranks", seconds[name], RING_LIMIT, " s")
    each = seconds[first] / messages(first, nodes=NODES, ranks_per_node=RANKS_PER_NODE)
    alone = seconds[f"{first}, 256 ranks, a process each"] / messages(
        first, nodes=SMALL_NODES, ranks_per_node=RANKS_PER_NODE
    )
    print(f"  per message: {1e9 * each:.0f} ns, with a process per rank {1e9 * alone:,.0f} ns")
    held &= verdict("time per message beside a process per rank", each / alone, BASELINE_LIMIT, "x")
    ratio = seconds[f"{first}, 100 GB"] / seconds[f"{first}, routes known"]
    held &= verdict("4,000 times the bytes", ratio, SIZE_LIMIT, "x")
    tenth = messages(first, nodes=NODES // 10, ranks_per_node=RANKS_PER_NODE)
    growth = messages(first, nodes=NODES, ranks_per_node=RANKS_PER_NODE) / tenth
    print(f"  {growth:.1f} times the messages on ten times the nodes")
    grown = seconds[first] / seconds[f"{first}, a tenth of the nodes"] / growth * 10
    held &= verdict("ten times the ranks, for as many steps", grown, GROWTH_LIMIT, "x")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
