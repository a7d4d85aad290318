"""How the gradients of a global batch become one: per rank in the schedule's order, or all at once.

Per rank: every rank's gradient is computed on its own samples and the collective's schedule adds them, in the order
in which the machine would. All at once: equal samples are computed once and weighted by how often they occur, in one
fixed order; what the ranks would add is the same sum in another order. Under a parallel strategy the device itself
has ranks, which take the whole batch and add as they would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from nnlib.device import TRAINING, Device
from nnlib.graph import Variables
from nnlib.layers.layer import Run
from nnlib.model import Gradients
from sim.chip.memory import Array
from workloads.datasets.stream import Samples, SampleStream

Order: TypeAlias = Literal["schedule", "pairwise", "strategy"]
AddRanks: TypeAlias = Callable[[Array], Array]

SCHEDULE_LIMIT_BYTES = 1 << 30
"""Above this many bytes of all ranks' gradients together the order ``auto`` adds all at once."""


@dataclass(frozen=True)
class Reduction:
    """The reduction of one run: ``add_ranks`` executes the collective on an array (ranks, elements)."""

    order: Order
    ranks: int
    add_ranks: AddRanks

    def gradients(
        self, *, device: Device, variables: Variables, stream: SampleStream, samples: Samples, run: Run = TRAINING
    ) -> Gradients:
        """Mean loss over the global batch, its gradients and the statistics after it."""
        dtype = next(iter(variables.values())).dtype
        if self.order != "schedule":
            ids, weights = samples.ids, np.ones(len(samples), dtype=dtype)
            if self.order == "pairwise" and not device.model.graph.mixes_samples:
                ids, multiplicities = samples.distinct()
                weights = multiplicities.astype(dtype)
            batch = stream.batch(ids).astype(dtype)
            return device.gradients(variables=variables, batch=batch, weights=weights, run=run)
        each = []
        for rank, ids in enumerate(np.split(samples.ids, self.ranks)):
            own = Run(training=run.training, key=run.key, first_sample=run.first_sample + rank * len(ids))
            weights = np.ones(len(ids), dtype=dtype)
            batch = stream.batch(ids).astype(dtype)
            each.append(device.gradients(variables=variables, batch=batch, weights=weights, run=own))
        return self._added(each)

    def _added(self, each: Sequence[Gradients]) -> Gradients:
        """The mean over the ranks, gradients in the collective's order."""
        flat = [np.concatenate([grad.ravel() for grad in one.parameters.values()]) for one in each]
        total = self.add_ranks(np.stack(flat)) / self.ranks
        statistics: dict[str, Array] = {
            name: np.stack([one.statistics[name] for one in each]).mean(axis=0) for name in each[0].statistics
        }
        return Gradients(
            loss=float(np.mean([one.loss for one in each])),
            parameters=_unpack(total, each[0].parameters),
            statistics=statistics,
        )


def choose_order(
    *, wanted: Literal["auto", "schedule", "pairwise"], ranks: int, gradient_bytes: int, repeats: bool
) -> Order:
    """``auto``: ``schedule`` up to the limit, ``pairwise`` above it and where samples of a step must repeat.

    Samples that repeat are computed once and weighted, which leaves no rank a gradient of its own.
    """
    if wanted != "auto":
        return wanted
    return "schedule" if ranks * gradient_bytes <= SCHEDULE_LIMIT_BYTES and not repeats else "pairwise"


def _unpack(flat: Array, like: Variables) -> dict[str, Array]:
    """Cut a packed vector into arrays shaped like ``like``."""
    sizes = [array.size for array in like.values()]
    parts: Sequence[Array] = np.split(flat, np.cumsum(sizes)[:-1])
    return {name: part.reshape(array.shape) for (name, array), part in zip(like.items(), parts, strict=True)}
