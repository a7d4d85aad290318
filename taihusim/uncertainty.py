"""How sure a prediction is: the errors of its parts against published measurements, carried over to the whole.

A time is a sum of parts. Of each part it is known by what factors measured times differed from predicted ones; 90 % of
them lie between ``low`` and ``high``. All of a part is taken to be off by the same factor, and parts to be off
independently of each other, so that their deviations add up as squares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).parent / "validation" / "residuals.json"
COMMAND: Final = "taihusim validate --residuals FILE"
"""What makes the file."""
PART_OF_SHARE: Final[Mapping[str, str]] = {
    "compute": "kernels",
    "mesh_wait": "kernels",
    "imbalance": "kernels",
    "launch": "kernels",
    "group_sync": "kernels",
    "dma_wait": "kernels",
    "communication_exposed": "allreduce",
    "pipeline_bubble": "kernels",
    "jitter": "kernels",
    "input": "input",
}
"""Whose errors each share of a step has."""


@dataclass(frozen=True, kw_only=True)
class Residual:
    """Measured over predicted times of one part: of ``rows`` measurements 5 %, half and 95 % lie below these.

    ``tables``: where they are from.
    """

    rows: int
    low: float
    middle: float
    high: float
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """The errors by part, and how far measurements reach: nodes of training, bytes of all-reduces."""

    parts: Mapping[str, Residual]
    most_nodes: int
    allreduce_bytes: tuple[float, float]

    def interval(self, shares: Mapping[str, float], *, whole: float) -> tuple[float, float]:
        """Between which times 90 % are expected; the predicted one, ``whole`` with these ``shares``, is among them."""
        by_part: dict[str, float] = {}
        for share, value in shares.items():
            name = PART_OF_SHARE.get(share, "kernels")
            by_part[name] = by_part.get(name, 0.0) + value
        middle = below = above = 0.0
        for name, value in by_part.items():
            residual = self.parts.get(name)
            if residual is None:
                middle += value
                continue
            middle += value * residual.middle
            below += (value * (residual.middle - residual.low)) ** 2
            above += (value * (residual.high - residual.middle)) ** 2
        return whole * min(1.0, middle - sqrt(below)), whole * max(1.0, middle + sqrt(above))


def residual_of(factors: Sequence[tuple[float, float]]) -> Residual:
    """The distribution of ``factors``, each with its weight. Raises ValueError if there are none."""
    if not factors:
        raise ValueError("no measurements")
    ordered = sorted(factors)
    total = sum(weight for _, weight in ordered)

    def below(share: float) -> float:
        reached = 0.0
        for factor, weight in ordered:
            reached += weight
            if reached >= share * total * (1 - 1e-12):
                return factor
        return ordered[-1][0]

    return Residual(rows=len(ordered), low=below(0.05), middle=below(0.5), high=below(0.95))


@lru_cache(maxsize=1)
def load_residuals() -> Residuals:
    """The errors that come with the package, made by ``taihusim validate --residuals FILE``."""
    return residuals_of(json.loads(FILE.read_text()))


def residuals_of(data: Mapping[str, Any]) -> Residuals:
    """From the file's JSON."""
    low, high = data["allreduce_bytes"]
    return Residuals(
        parts={
            name: Residual(**{**values, "tables": tuple(values["tables"])}) for name, values in data["parts"].items()
        },
        most_nodes=data["most_nodes"],
        allreduce_bytes=(low, high),
    )
