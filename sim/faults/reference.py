"""The same job as a SimPy process that failures interrupt: slow, plain, and the measure of the fast one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from sim.faults.plan import CheckpointPlan


@dataclass
class Run:
    """What one run took, and what it spent that on."""

    seconds: float = 0.0
    useful_seconds: float = 0.0
    write_seconds: float = 0.0
    lost_seconds: float = 0.0
    restart_seconds: float = 0.0
    failures: int = 0


def run_job(plan: CheckpointPlan, failures: Sequence[float]) -> Run:
    """One run of ``plan`` with failures at the given times, ascending."""
    env = simpy.Environment()
    run = Run()
    job = env.process(_job(env, plan, run))
    env.process(_strike(env, job, failures))
    env.run(until=job)
    run.seconds = env.now
    return run


def run_on_nodes(plan: CheckpointPlan, *, parts: int, part_mtbf_seconds: float, seed: int) -> Run:
    """One run on ``parts`` nodes and links, each a process of its own that fails at random and is replaced."""
    env = simpy.Environment()
    run = Run()
    job = env.process(_job(env, plan, run))
    for child in np.random.SeedSequence(seed).spawn(parts):
        env.process(_part(env, job, part_mtbf_seconds, np.random.default_rng(child)))
    env.run(until=job)
    run.seconds = env.now
    return run


def _strike(env: simpy.Environment, job: simpy.Process, failures: Sequence[float]) -> Generator[Any, Any, None]:
    for time in failures:
        yield env.timeout(time - env.now)
        if job.is_alive:
            job.interrupt()


def _part(
    env: simpy.Environment, job: simpy.Process, mtbf: float, rng: np.random.Generator
) -> Generator[Any, Any, None]:
    while job.is_alive:
        yield env.timeout(rng.exponential(mtbf))
        if job.is_alive:
            job.interrupt()


def _job(env: simpy.Environment, plan: CheckpointPlan, run: Run) -> Generator[Any, Any, None]:
    segments = [plan.interval_seconds] * plan.full_segments + ([plan.tail_seconds] if plan.tail_seconds > 0 else [])
    number, restarting = 0, False
    while number < len(segments):
        begin = env.now
        try:
            if restarting:
                yield env.timeout(plan.restart_seconds)
                run.restart_seconds += env.now - begin
                restarting = False
                begin = env.now
            yield env.timeout(segments[number])
            yield env.timeout(plan.write_seconds)
        except simpy.Interrupt:
            run.failures += 1
            if restarting:
                run.restart_seconds += env.now - begin
            else:
                run.lost_seconds += env.now - begin
            restarting = True
        else:
            run.useful_seconds += segments[number]
            run.write_seconds += plan.write_seconds
            number += 1
