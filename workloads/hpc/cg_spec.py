"""Conjugate gradients as frozen descriptions."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.hpc.process_box import Box


@dataclass(frozen=True, kw_only=True)
class HpcgWorkload:
    """Conjugate gradients with a multigrid preconditioner on a 27-point stencil.

    ``points`` along z, y and x of each core group, halved from each of ``levels`` grids to the next. ``collective``: of
    the sums over all processes. ``persistent_threads``: kernels are launched by flags.
    """

    name: str
    title: str
    points: Box
    levels: int
    collective: str
    persistent_threads: bool

    def shape(self, level: int) -> Box:
        """Points of a core group on a level, 0 being the finest."""
        z, y, x = self.points
        return z >> level, y >> level, x >> level

    def rows(self, level: int) -> int:
        z, y, x = self.shape(level)
        return z * y * x
