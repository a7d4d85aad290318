"""Host time of a year of failures and checkpoints on the whole machine, beside the same with a SimPy process per part.

A thousand years at once, with 40,960 nodes and 51,200 links, may take 5 s. SimPy has a process for each of 640 nodes
and of their links, and does one year of theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from measure import side_by_side, verdict

from machine_configs import DEFAULT_MACHINE
from sim.faults.plan import CheckpointPlan, daly_interval
from sim.faults.rate import job_links, job_mtbf_seconds
from sim.faults.reference import run_on_nodes
from sim.faults.simulation import Completions, random_gaps, simulate
from sim.machine.load import load_machine

NODES = 40_960
SMALL = 640
YEAR_SECONDS = 365 * 86_400.0
WRITE_SECONDS = 10.0
RESTART_SECONDS = 310.0
RUNS = 1000
ROUNDS = 3
SECONDS_LIMIT = 5.0


def year(nodes: int) -> tuple[CheckpointPlan, float]:
    """A year of work on so many nodes, checkpoints as often as is best, and how often something fails."""
    mtbf = job_mtbf_seconds(load_machine(DEFAULT_MACHINE), nodes=nodes)
    plan = CheckpointPlan(
        work_seconds=YEAR_SECONDS,
        interval_seconds=daly_interval(write_seconds=WRITE_SECONDS, mtbf_seconds=mtbf),
        write_seconds=WRITE_SECONDS,
        restart_seconds=RESTART_SECONDS,
    )
    return plan, mtbf


def arrays(nodes: int, runs: int) -> Callable[[], Completions]:
    """``runs`` such years at once."""
    plan, mtbf = year(nodes)
    return lambda: simulate(plan, random_gaps(mtbf_seconds=mtbf, runs=runs, seed=0), runs=runs)


def processes(nodes: int) -> Callable[[], object]:
    """One such year with a process for each part of the machine."""
    plan, mtbf = year(nodes)
    parts = nodes + job_links(load_machine(DEFAULT_MACHINE), nodes=nodes)
    return lambda: run_on_nodes(plan, parts=parts, part_mtbf_seconds=parts * mtbf, seed=0)


def main() -> int:
    whole, one = f"{NODES:,} nodes, {RUNS:,} years at once", f"{NODES:,} nodes, one year"
    small, slow = f"{SMALL:,} nodes, one year", f"{SMALL:,} nodes, one year, SimPy"
    seconds = side_by_side(
        {
            whole: arrays(NODES, RUNS),
            one: arrays(NODES, 1),
            small: arrays(SMALL, 1),
            slow: processes(SMALL),
        },
        rounds=ROUNDS,
    )
    print("host time of a year of work with failures and checkpoints:")
    for name, value in seconds.items():
        print(f"  {name:<52}{1e3 * value:9.1f} ms")
    plan, mtbf = year(NODES)
    found = arrays(NODES, RUNS)()
    print(
        f"failures in a year on {NODES:,} nodes: {found.failures.mean():,.0f}; "
        f"mean of the runs {found.seconds.mean() / YEAR_SECONDS:.4f} years, "
        f"by formula {plan.expected_seconds(mtbf) / YEAR_SECONDS:.4f}"
    )
    print(f"SimPy takes {seconds[slow] / seconds[small]:,.0f} times as long for one year of {SMALL:,} nodes")
    return 0 if verdict(whole, seconds[whole], SECONDS_LIMIT, " s") else 1


if __name__ == "__main__":
    sys.exit(main())
