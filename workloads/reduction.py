"""How the gradients of a global batch become one: per rank in the schedule's order, or all at once.

Per rank: every rank's gradient is computed on its own samples and the collective's schedule adds them, in the order
in which the machine would. All at once: equal samples are computed once and weighted by how often they occur, in one
fixed order; what the ranks would add is the same sum in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from nnlib.device import Device, Parameters
from sim.chip.memory import Array
from workloads.datasets.dataset import Labels
from workloads.datasets.stream import Samples, SampleStream

Order: TypeAlias = Literal["schedule", "pairwise"]
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
        self, *, device: Device, parameters: Parameters, stream: SampleStream, samples: Samples
    ) -> tuple[float, dict[str, Array]]:
        """Mean loss over the global batch and its gradients."""
        if self.order == "pairwise":
            ids, multiplicities = samples.distinct()
            weights = multiplicities.astype(next(iter(parameters.values())).dtype)
            return device.gradients(
                parameters=parameters,
                images=_images(stream, ids, parameters),
                labels=stream.labels(ids),
                weights=weights,
            )
        losses, flat = [], []
        for ids in np.split(samples.ids, self.ranks):
            loss, grads = device.gradients(
                parameters=parameters,
                images=_images(stream, ids, parameters),
                labels=stream.labels(ids),
                weights=np.ones(len(ids), dtype=next(iter(parameters.values())).dtype),
            )
            losses.append(loss)
            flat.append(np.concatenate([grads[name].ravel() for name in parameters]))
        total = self.add_ranks(np.stack(flat)) / self.ranks
        return float(np.mean(losses)), _unpack(total, parameters)


def choose_order(
    *, wanted: Literal["auto", "schedule", "pairwise"], ranks: int, gradient_bytes: int, repeats: bool
) -> Order:
    """``auto``: ``schedule`` up to the limit, ``pairwise`` above it and where samples of a step must repeat.

    Samples that repeat are computed once and weighted, which leaves no rank a gradient of its own.
    """
    if wanted != "auto":
        return wanted
    return "schedule" if ranks * gradient_bytes <= SCHEDULE_LIMIT_BYTES and not repeats else "pairwise"


def _images(stream: SampleStream, ids: Labels, parameters: Parameters) -> Array:
    return stream.images(ids).astype(next(iter(parameters.values())).dtype, copy=False)


def _unpack(flat: Array, like: Parameters) -> dict[str, Array]:
    """Cut a packed vector into arrays shaped like ``like``."""
    sizes = [array.size for array in like.values()]
    parts: Sequence[Array] = np.split(flat, np.cumsum(sizes)[:-1])
    return {name: part.reshape(array.shape) for (name, array), part in zip(like.items(), parts, strict=True)}
