"""Conjugate gradients with a multigrid preconditioner: one program that computes, keeps the time, or both.

The preconditioner is one V-cycle: on every level a symmetric Gauss-Seidel sweep by colours before and after the coarser
ones, on the coarsest one sweep; points are handed on by injection, as in the HPCG benchmark.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from nnlib.kernels.sparse.sparse_rows import POINTS
from workloads.hpc.cg_costs import CgCosts
from workloads.hpc.cg_numerics import CgNumerics


@dataclass(eq=False)
class ConjugateGradient:
    """``spent``: picoseconds by part. ``numbers``: what is solved, None to keep the time alone."""

    costs: CgCosts
    numbers: CgNumerics | None = None
    spent: Counter[str] = field(default_factory=Counter)

    def solve(self, iterations: int, *, tolerance: float = 0.0) -> int:
        """At most so many iterations from x = 0, until the residual's norm fell to ``tolerance`` of b's.

        Returns how many there were.
        """
        numbers = self.numbers
        if numbers is not None:
            numbers.begin()
        for iteration in range(iterations):
            self.precondition(0)
            self.dot()
            if numbers is not None:
                numbers.direction(first=iteration == 0)
            if iteration:
                self.spent["vectors"] += self.costs.vector_sum(0)
            self.product()
            self.dot()
            self.spent["vectors"] += 2 * self.costs.vector_sum(0)
            self.dot()
            if numbers is not None and numbers.advance() <= tolerance:
                return iteration + 1
        return iterations

    def dot(self) -> None:
        """A product of two vectors, summed over all processes."""
        self.spent["vectors"] += self.costs.local_dot()
        self.spent["global_sums"] += self.costs.global_sum()

    def product(self) -> None:
        """A·p, with p's neighbours from the other processes."""
        self.spent["halo_exchange"] += self.costs.exchange(0)
        self.spent["product"] += len(self.costs.colours) * self.costs.rows_pass("product", 0)
        if self.numbers is not None:
            self.numbers.multiply()

    def precondition(self, level: int) -> None:
        """z of the residual on a level, from zero."""
        numbers, last = self.numbers, self.costs.workload.levels - 1
        if numbers is not None:
            numbers.clear(level)
        self.smooth(level)
        if level == last:
            return
        self.spent["residual"] += len(self.costs.colours) * self.costs.rows_pass("residual", level)
        self.spent["vectors"] += 2 * self.costs.injection(level)
        if numbers is not None:
            numbers.restrict(level)
        self.precondition(level + 1)
        if numbers is not None:
            numbers.prolong(level)
        # what was added to every eighth point is news to the neighbours
        self.spent["halo_exchange"] += self.costs.colour_exchange(level, 0)
        self.smooth(level)

    def smooth(self, level: int) -> None:
        """Colour after colour there and back; after each, the neighbours learn of it."""
        for colour in (*self.costs.colours, *reversed(self.costs.colours)):
            self.spent["smoother"] += self.costs.rows_pass("smooth", level)
            self.spent["halo_exchange"] += self.costs.colour_exchange(level, colour)
            if self.numbers is not None:
                self.numbers.smooth(level, colour)


def flops_per_iteration(costs: CgCosts) -> float:
    """Of all processes: two for each coefficient of each pass over a matrix, and for each number of a vector."""
    workload, last = costs.workload, costs.workload.levels - 1
    # two symmetric sweeps and a residual, on the coarsest grid one sweep; the product; three products and sums
    passes = [(4 if level == last else 10) * workload.rows(level) for level in range(workload.levels)]
    found = POINTS * sum(passes) + (2 * POINTS + 12) * workload.rows(0)
    return float(found) * costs.box.processes
