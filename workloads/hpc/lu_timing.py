"""The time of an LU factorisation over all its steps, however many processes there are.

The processes of a process column leave each exchange of rows together, and the ones with most rows hold up the
others, so that a clock for each process column is exact. Costs of all steps are computed at once; what is left is a
recurrence over the steps, on as many clocks as there are process columns. All of it in whole picoseconds, so that it
equals the run of every process (:mod:`workloads.hpc.lu_run`) to the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from workloads.hpc.durations import Picoseconds, seconds_of
from workloads.hpc.lu_broadcast import LuBroadcast
from workloads.hpc.lu_costs import LuCosts
from workloads.hpc.process_grid import Counts

Arrivals: TypeAlias = Callable[[int, int, Picoseconds], Picoseconds | int]
"""When a panel that is ready at a time reaches each column, or all of them; last, when each looks for it."""


@dataclass(frozen=True, kw_only=True)
class LuTiming:
    """``factorised``: when each process column is through, in picoseconds; ``seconds`` with the back substitution.

    ``shares``: fractions of the time, as means over the processes; they add up to 1.
    """

    factorised: Picoseconds
    picoseconds: int
    shares: Mapping[str, float]

    @property
    def seconds(self) -> float:
        return seconds_of(self.picoseconds)


@dataclass(frozen=True)
class _Steps:
    """Of each step: ``left`` // columns blocks in most process columns, one more in the first ``more`` of them.

    Then the column with the right-hand side comes, which has one column of numbers besides. ``next_panel`` and
    ``after_panel`` are what the first column does before and after it factorises the next panel.
    """

    more: Counts
    few: Picoseconds
    many: Picoseconds
    last: Picoseconds
    next_panel: Picoseconds
    after_panel: Picoseconds


def _steps(costs: LuCosts) -> _Steps:
    columns = costs.problem.grid.columns
    left = costs.problem.blocks - 1 - np.arange(costs.problem.blocks)
    few, more = np.divmod(left, columns)
    first = few + (more > 0)

    def slowest(blocks: Counts, extra: Counts | int = 0) -> Picoseconds:
        """Of the processes with most rows and those with one block less, whose kernel may be slower for all that."""
        fewer = left // costs.problem.grid.rows
        return np.maximum(costs.iteration(costs.rows_after, blocks, extra), costs.iteration(fewer, blocks, extra))

    return _Steps(
        more=more,
        few=slowest(few),
        many=slowest(few + (more > 0)),
        last=slowest(few, 1),
        next_panel=slowest(np.minimum(first, 1)),
        after_panel=slowest(np.maximum(first - 1, 0), (more == 0).astype(np.int64)),
    )


def time_factorisation(costs: LuCosts) -> LuTiming:
    """From the first panel until x is known."""
    broadcast = LuBroadcast(costs)
    steps = _steps(costs)
    done = _run(costs, steps, costs.panels, lambda k, ready, posted: broadcast.arrivals(k, ready=ready, posted=posted))
    total = int(done.max()) + costs.back_substitution
    return LuTiming(factorised=done, picoseconds=total, shares=_shares(costs, total))


def losses(costs: LuCosts, timing: LuTiming) -> dict[str, float]:
    """By mechanism, what keeps the CPEs from computing at their peak all the time: fractions of the time.

    With the share of the arithmetic at peak they add up to 1. ``broadcast``: by how much the run would be shorter if a
    panel were everywhere as soon as it is factorised; ``panel``: by how much more if that took no time either.
    ``imbalance``: what is left of waiting then, and that of processes with fewer rows. The others are as in the shares.
    """
    steps = _steps(costs)
    at_once = _run(costs, steps, costs.panels, lambda k, ready, posted: ready)
    no_panels = _run(costs, steps, np.zeros_like(costs.panels), lambda k, ready, posted: ready)
    whole, back = timing.picoseconds, costs.back_substitution
    broadcast = (whole - back - int(at_once.max())) / whole
    panel = (int(at_once.max()) - int(no_panels.max())) / whole
    shares = timing.shares
    waited = shares["panel"] + shares["panel_wait"] - broadcast - panel
    same = {name: shares[name] for name in ("kernel", "row_swaps", "triangular_solve", "back_substitution")}
    return {**same, "panel": panel, "broadcast": broadcast, "imbalance": shares["imbalance"] + waited}


def _run(costs: LuCosts, steps: _Steps, panels: Picoseconds, arrivals: Arrivals) -> Picoseconds:
    """When each process column is through with all steps; ``panels``: what each panel takes to be factorised."""
    blocks, columns = costs.problem.blocks, costs.problem.grid.columns
    ahead = costs.kernels.mapping.lookahead > 0
    done = np.zeros(columns, dtype=np.int64)
    arrived = arrivals(0, int(panels[0]), done)
    lists = [each.tolist() for each in (steps.more, steps.few, steps.many, steps.last)]
    before, after, panel = steps.next_panel.tolist(), steps.after_panel.tolist(), panels.tolist()
    for step, (more, few, many, last) in enumerate(zip(*lists, strict=True)):
        begun = np.maximum(done, arrived)
        begun = np.concatenate((begun[1:], begun[:1]))  # the first column is the one that owns the next panel
        done = begun + few
        done[:more] += many - few
        done[more] += last - few
        if step + 1 < blocks:
            if ahead:
                ready = int(begun[0]) + before[step] + panel[step + 1]
                done[0] = ready + after[step]
            else:
                done[0] = ready = int(done[0]) + panel[step + 1]
            arrived = arrivals(step + 1, ready, begun)
    # columns in the order of the last step, in which the first is the one after the last panel's
    return np.roll(done, blocks % columns)


def _shares(costs: LuCosts, total: int) -> dict[str, float]:
    """Means over the processes of what each part takes of ``total``."""
    problem, kernels = costs.problem, costs.kernels
    grid, steps = problem.grid, np.arange(problem.blocks)
    left = problem.blocks - 1 - steps
    few, more = np.divmod(left, grid.columns)
    few_rows, more_rows = np.divmod(left, grid.rows)
    first = few + (more > 0)
    one, none = np.ones_like(steps), np.zeros_like(steps)
    # blocks, one column besides or not, and in how many process columns
    kinds = [
        (few + 1, none, more),
        (few, none, grid.columns - more - 1),
        (few, one, one),
    ]
    if kernels.mapping.lookahead:
        owned = (left > 0).astype(np.int64)
        rest = (more == 0).astype(np.int64)
        kinds += [(first, rest, -owned), (np.minimum(first, 1), none, owned), (np.maximum(first - 1, 0), rest, owned)]
    swaps = solves = updates = own = 0.0
    rows = costs.rows_after
    for blocks, extra, number in kinds:
        swap = costs.swap(blocks, extra).astype(np.float64)
        longest = costs.update(rows, blocks, extra).astype(np.float64)
        mean = more_rows * longest + (grid.rows - more_rows) * costs.update(few_rows, blocks, extra)
        if kernels.mapping.swap_overlapped:
            swap = np.maximum(swap - longest, 0.0)
        swaps += float((number * swap).sum())
        solves += float((number * costs.solve(blocks, extra)).sum())
        updates += float((number * longest).sum())
        own += float((number * mean / grid.rows).sum())
    peak = kernels.sharers * kernels.processor.core_group_cpe_peak_flops
    whole = total * grid.columns
    arithmetic = problem.flops / (peak * grid.processes) * 1e12 / total
    parts = {
        "arithmetic_at_peak": arithmetic,
        "kernel": own / whole - arithmetic,
        "imbalance": (updates - own) / whole,
        "row_swaps": swaps / whole,
        "triangular_solve": solves / whole,
        "panel": float(costs.panels.astype(np.float64).sum()) / whole,
        "back_substitution": costs.back_substitution / total,
    }
    return {**parts, "panel_wait": 1.0 - sum(parts.values())}
