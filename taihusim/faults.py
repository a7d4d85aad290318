"""``faults``: how long a training run takes in the end, on a machine whose nodes and links fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from sim.machine.quantity import DURATION, Quantity
from sim.machine.spec import MachineSpec
from sim.problems import BadInput, Problem
from sim.storage.striping import Striping
from taihusim.node_counts import node_problems
from taihusim.node_steps import NodeSteps
from workloads.jobs.completion import CheckpointCost as Cost
from workloads.jobs.completion import Completion, checkpoint_bytes, checkpoint_cost, complete

AUTO: Final = "auto"
SECONDS_PER_HOUR: Final = 3600.0
MOST_CHECKPOINTS: Final = 10**9


@dataclass(frozen=True, kw_only=True)
class FaultsRequest:
    """What is asked: ``hours`` of work without failures on each of the ``nodes``; ``interval_seconds`` None: the best.

    ``writers`` nodes write each checkpoint together; ``runs`` are simulated.
    """

    nodes: tuple[int, ...]
    hours: float
    interval_seconds: float | None = None
    writers: int = 1
    runs: int = 1000
    seed: int = 0


def request_problems(request: FaultsRequest, *, machine: MachineSpec) -> list[Problem]:
    """What cannot be: node counts that the machine does not have, more checkpoints than can be counted."""
    problems = node_problems(request.nodes, machine=machine)
    work, interval = request.hours * SECONDS_PER_HOUR, request.interval_seconds
    if interval is not None and work / interval > MOST_CHECKPOINTS:
        expected = (
            f"at least {work / MOST_CHECKPOINTS:.3g} s, so that there are at most {MOST_CHECKPOINTS:,} checkpoints"
        )
        problems.append(Problem(file="--interval", key="", value=f"{interval:g} s", expected=expected))
    return problems


def faults(steps: NodeSteps, request: FaultsRequest) -> Iterator[dict[str, Any]]:
    """The points by node count, as in the command's JSON; the request has no problems."""
    size = checkpoint_bytes(steps.facts, steps.mapping)
    striping = Striping(stripes=steps.mapping.stripes, stripe_bytes=steps.mapping.stripe_bytes)
    for nodes in request.nodes:
        cost = checkpoint_cost(steps.machine, size=size, nodes=nodes, striping=striping, writers=request.writers)
        found = complete(
            steps.machine,
            nodes=nodes,
            work_seconds=request.hours * SECONDS_PER_HOUR,
            cost=cost,
            interval_seconds=request.interval_seconds,
            runs=request.runs,
            seed=request.seed,
        )
        yield _point(nodes, cost, found)


def read_interval(text: str) -> float | None:
    """Seconds of ``600 s`` or ``2h``, None for ``auto``. Raises BadInput for anything else."""
    if text == AUTO:
        return None
    quantity = Quantity(dimension=DURATION)
    try:
        return quantity.parse(text)
    except ValueError as error:
        expected = f"{AUTO}, or {str(error).replace(DURATION.example, '600 s')}"
        raise BadInput([Problem(file="--interval", key="", value=text, expected=expected)]) from None


def _point(nodes: int, cost: Cost, found: Completion) -> dict[str, Any]:
    expected = found.expected_seconds
    return {
        "nodes": nodes,
        "mtbf_seconds": found.mtbf_seconds,
        "checkpoint_bytes": cost.size,
        "checkpoint_write_seconds": cost.write_seconds,
        "restart_seconds": cost.restart_seconds,
        "interval_seconds": found.plan.interval_seconds,
        "best_interval_seconds": found.best_interval_seconds,
        "work_seconds": found.plan.work_seconds,
        "seconds_without_failures": found.plan.faultless_seconds,
        "expected_seconds": expected if isfinite(expected) else None,
        "useful_fraction": found.useful_fraction,
        "simulated_seconds": found.simulated_seconds,
        "simulated_seconds_low": found.low_seconds,
        "simulated_seconds_high": found.high_seconds,
        "failures": found.failures,
        "shares": None if found.shares is None else dict(found.shares),
        "bottleneck": bottleneck(found),
        "curve": [
            {"interval_seconds": interval, "expected_seconds": seconds if isfinite(seconds) else None}
            for interval, seconds in found.curve
        ],
    }


def bottleneck(found: Completion) -> str:
    """What takes most of the time that is not work, in words."""
    if found.shares is None:
        return (
            "failures: they come so often that the run all but never ends; write faster (--writers), save more often, "
            "or take fewer nodes"
        )
    lost = {name: share for name, share in found.shares.items() if name != "useful"}
    name = max(lost, key=lambda each: lost[each])
    percent = f"{100 * lost[name]:.1f} %"
    if lost[name] < 0.001:
        return "nothing: failures and checkpoints take less than a thousandth of the time"
    match name:
        case "checkpoint":
            return f"checkpoints: writing them takes {percent} of the time"
        case "lost":
            return f"lost work: what is computed again after failures takes {percent} of the time"
        case _:
            return f"restarts: from a failure until the work goes on, {percent} of the time"
