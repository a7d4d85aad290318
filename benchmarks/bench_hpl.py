"""Processor time of Linpack over 40,960 nodes, 48,000 steps on 163,840 processes, kernels on disk: at most 5 s.

Beside it, on 16 processes, the run of every process that the recurrence over steps replaces, at most as long.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from measure import side_by_side, verdict

from nnlib.kernels.clock import KernelClock
from sim.machine.load import load_machine
from taihusim.cache import default_store
from workloads.hpc.files import load_program
from workloads.hpc.hpl import lu_costs, run_hpl
from workloads.hpc.hpl_spec import HplWorkload
from workloads.hpc.lu_run import LuRun
from workloads.hpc.lu_timing import time_factorisation

NODES, SMALL_NODES = 40_960, 4
LIMIT = 5.0
ROUNDS = 3


def main() -> int:
    """Print both beside their limits; 0 if they hold."""
    machine = load_machine("sunway_taihulight")
    clock = KernelClock(machine.processor, store=default_store())
    workload = load_program("hpl")
    assert isinstance(workload, HplWorkload)
    small = replace(workload, order=60_000, order_nodes=SMALL_NODES)
    costs = lu_costs(small, machine=machine, clock=clock, nodes=SMALL_NODES)
    taken = side_by_side(
        {
            "whole machine": lambda: run_hpl(workload, machine=machine, clock=clock, nodes=NODES),
            "16 processes, over steps": lambda: time_factorisation(costs),
            "16 processes, every process": lambda: LuRun(costs).factorise(),
        },
        rounds=ROUNDS,
        clock=time.process_time,
    )
    for name, seconds in taken.items():
        print(f"{name:<40}{seconds:10.3f} s")
    ratio = taken["16 processes, over steps"] / taken["16 processes, every process"]
    held = [
        verdict("Linpack over 40,960 nodes", taken["whole machine"], LIMIT, " s"),
        verdict("over steps, in runs of every process", ratio, 1.0),
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
