"""A climate step and the segmentation of its fields as a frozen description."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.kernels.grids.weather_step import Dynamics


@dataclass(frozen=True, kw_only=True)
class ClimateWorkload:
    """``steps`` of the core between segmentations by ``network``, a workload. ``windows``: fields of a core group.

    ``stripes`` and ``stripe_bytes``: of the file through which fields go that are not looked at in place.
    """

    name: str
    title: str
    network: str
    windows: tuple[int, int]
    steps: int
    dynamics: Dynamics
    persistent_threads: bool
    stripes: int
    stripe_bytes: int

    @property
    def fields(self) -> int:
        """Fields of a core group."""
        rows, columns = self.windows
        return rows * columns
