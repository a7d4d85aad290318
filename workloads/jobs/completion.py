"""How long a training run really takes: checkpoints through storage, failures of nodes and links, restarts."""

from __future__ import annotations

from collections.abc import Mapping as WordMapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Final

import numpy as np

from nnlib.precision import DTYPES
from sim.faults.plan import CheckpointPlan, daly_interval
from sim.faults.rate import job_mtbf_seconds
from sim.faults.simulation import random_gaps, simulate
from sim.machine.spec import MachineSpec
from sim.storage.access import Access, access
from sim.storage.striping import Striping
from workloads.facts import WorkloadFacts
from workloads.mapping import Mapping

FACTORS: Final = (0.125, 0.25, 0.5, 0.7071, 1.0, 1.4142, 2.0, 4.0, 8.0)
"""Points of the curve around an interval."""
HOPELESS: Final = 100.0
"""How many times as long as without failures a run may take for it to be simulated."""
SPREAD: Final = (5, 95)
"""Per cent of the runs that are through at the low and the high time."""


@dataclass(frozen=True, kw_only=True)
class CheckpointCost:
    """Writing a checkpoint of ``size`` bytes, and starting again from it on all nodes."""

    size: int
    write_seconds: float
    restart_seconds: float


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A run of ``plan`` while something fails every ``mtbf_seconds`` on average.

    ``expected_seconds`` by formula, infinite if it never ends; ``simulated_seconds`` the mean of ``runs`` runs, nine in
    ten of which lie between ``low_seconds`` and ``high_seconds``; ``shares`` of their time: useful, checkpoint, lost,
    restart. The simulated ones are None where it is hopeless. ``best_interval_seconds`` is Daly's; ``curve`` gives the
    expected time for intervals around it.
    """

    plan: CheckpointPlan
    mtbf_seconds: float
    best_interval_seconds: float
    expected_seconds: float
    curve: tuple[tuple[float, float], ...]
    runs: int
    simulated_seconds: float | None
    low_seconds: float | None
    high_seconds: float | None
    failures: float | None
    shares: WordMapping[str, float] | None

    @property
    def useful_fraction(self) -> float:
        """Work over expected time; 0 if it never ends."""
        return self.plan.work_seconds / self.expected_seconds if isfinite(self.expected_seconds) else 0.0


def checkpoint_bytes(facts: WorkloadFacts, mapping: Mapping) -> int:
    """Size of a checkpoint: parameters and statistics, and what the optimiser keeps for each parameter."""
    copies = facts.optimiser_states + int(mapping.fixed is not None and mapping.fixed.master)
    return DTYPES[mapping.dtype].itemsize * (facts.parameters * (1 + copies) + facts.statistics)


def checkpoint_cost(
    machine: MachineSpec, *, size: int, nodes: int, striping: Striping, writers: int = 1
) -> CheckpointCost:
    """What a checkpoint of ``size`` bytes costs that ``writers`` nodes write, each its part.

    They read it again, and send it to the others in twice the time that its bytes take on a node's link: scattered,
    then gathered by all (van de Geijn 1994).
    """
    sharing = min(writers, nodes)
    moving = access(machine.storage, Access(processes=sharing, size=size / sharing, striping=striping)).seconds
    sending = 2 * size / machine.network.link.node_bytes_per_second if nodes > 1 else 0.0
    return CheckpointCost(
        size=size, write_seconds=moving, restart_seconds=machine.faults.restart_seconds + moving + sending
    )


def complete(
    machine: MachineSpec,
    *,
    nodes: int,
    work_seconds: float,
    cost: CheckpointCost,
    interval_seconds: float | None = None,
    runs: int = 1000,
    seed: int = 0,
) -> Completion:
    """Expected and simulated time of ``work_seconds`` of work on ``nodes`` nodes.

    Without ``interval_seconds`` checkpoints come as Daly's formula wants them, at equal distances. Raises ValueError
    unless work and interval are above zero.
    """
    mtbf = job_mtbf_seconds(machine, nodes=nodes)
    plan = best_plan(mtbf_seconds=mtbf, work_seconds=work_seconds, cost=cost)
    best = plan.interval_seconds
    if interval_seconds is not None:
        plan = plan.with_interval(min(interval_seconds, work_seconds))
    expected = plan.expected_seconds(mtbf)
    intervals = sorted({min(work_seconds, best * factor) for factor in FACTORS})
    curve = tuple((each, plan.with_interval(each).expected_seconds(mtbf)) for each in intervals)
    simulated = _simulated(plan, mtbf=mtbf, runs=runs, seed=seed) if expected < HOPELESS * work_seconds else {}
    return Completion(
        plan=plan,
        mtbf_seconds=mtbf,
        best_interval_seconds=best,
        expected_seconds=expected,
        curve=curve,
        runs=runs,
        simulated_seconds=simulated.get("mean"),
        low_seconds=simulated.get("low"),
        high_seconds=simulated.get("high"),
        failures=simulated.get("failures"),
        shares={name: simulated[name] for name in SHARES} if simulated else None,
    )


def best_plan(*, mtbf_seconds: float, work_seconds: float, cost: CheckpointCost) -> CheckpointPlan:
    """Checkpoints as often as Daly's formula wants them, at equal distances."""
    daly = daly_interval(write_seconds=cost.write_seconds, mtbf_seconds=mtbf_seconds)
    return CheckpointPlan(
        work_seconds=work_seconds,
        interval_seconds=equal_interval(daly, work_seconds=work_seconds),
        write_seconds=cost.write_seconds,
        restart_seconds=cost.restart_seconds,
    )


def expected_to_train(
    machine: MachineSpec, *, facts: WorkloadFacts, mapping: Mapping, nodes: int, work_seconds: float
) -> float:
    """Expected seconds of training that takes ``work_seconds`` where nothing fails; infinite if it never ends.

    One node writes checkpoints, as often as is best, striped as the mapping has it.
    """
    striping = Striping(stripes=mapping.stripes, stripe_bytes=mapping.stripe_bytes)
    cost = checkpoint_cost(machine, size=checkpoint_bytes(facts, mapping), nodes=nodes, striping=striping)
    mtbf = job_mtbf_seconds(machine, nodes=nodes)
    return best_plan(mtbf_seconds=mtbf, work_seconds=work_seconds, cost=cost).expected_seconds(mtbf)


SHARES: Final = ("useful", "checkpoint", "lost", "restart")


def equal_interval(interval_seconds: float, *, work_seconds: float) -> float:
    """The interval nearest to the given one that divides the work into equal segments."""
    if interval_seconds <= 0 or interval_seconds == inf:
        return work_seconds
    return work_seconds / max(1, round(work_seconds / interval_seconds))


def _simulated(plan: CheckpointPlan, *, mtbf: float, runs: int, seed: int) -> dict[str, float]:
    found = simulate(plan, random_gaps(mtbf_seconds=mtbf, runs=runs, seed=seed), runs=runs)
    total = float(found.seconds.sum())
    low, high = np.percentile(found.seconds, SPREAD)
    return {
        "mean": float(found.seconds.mean()),
        "low": float(low),
        "high": float(high),
        "failures": float(found.failures.mean()),
        "useful": float(found.useful_seconds.sum()) / total,
        "checkpoint": float(found.write_seconds.sum()) / total,
        "lost": float(found.lost_seconds.sum()) / total,
        "restart": float(found.restart_seconds.sum()) / total,
    }
