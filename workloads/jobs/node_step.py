"""What one node does in a training step, without the network: a small description that is kept between runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Bucket:
    """Gradients that are reduced together: ``elements`` numbers, ready ``ready_seconds`` after the step began.

    By then the core groups of the node have added up theirs.
    """

    elements: int
    ready_seconds: float


@dataclass(frozen=True)
class Blob:
    """One parameter's gradient of ``elements`` numbers, computed ``ready_seconds`` after the step began."""

    name: str
    elements: int
    ready_seconds: float


@dataclass(frozen=True, kw_only=True)
class NodeMemory:
    """Bytes of main memory that a core group needs.

    ``activations``: high-water mark of what layers keep and hand on. ``buffers``: the samples of this step and of the
    next, which arrives meanwhile, and room for the gradients that come from other ranks.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    buffers: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimiser + self.activations + self.buffers


@dataclass(frozen=True, kw_only=True)
class NodeStep:
    """A step of one node. All times are seconds of simulated time, of the core group with most samples.

    ``gradient_seconds``: until the node's gradients are complete, its core groups' sums included; then ``seconds`` adds
    the update. ``reasons`` and ``by_part`` share out ``seconds`` by why and by what. ``statistics``: elements of each
    array that layers keep besides parameters. ``flops`` are those of the whole node, ``samples`` those of the core
    group with most, of which ``moved_bytes`` go between memory and LDMs.
    """

    samples: int
    active_core_groups: int
    forward_seconds: float
    backward_seconds: float
    gradient_seconds: float
    update_seconds: float
    buckets: tuple[Bucket, ...]
    blobs: tuple[Blob, ...]
    reasons: Mapping[str, float]
    by_part: Mapping[str, float]
    memory: NodeMemory
    flops: int
    moved_bytes: int
    busiest: str
    launches: int
    launch_seconds: float
    item_bytes: int
    statistics: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """The whole step of a node alone."""
        return self.gradient_seconds + self.update_seconds

    @property
    def shares(self) -> dict[str, float]:
        """Fractions of :attr:`seconds` by reason."""
        return {name: value / self.seconds for name, value in self.reasons.items()}

    @property
    def gradient_bytes(self) -> int:
        """Size of all gradients together."""
        return self.item_bytes * sum(blob.elements for blob in self.blobs)

    def as_json(self) -> dict[str, Any]:
        """Plain values, from which :func:`node_step_of` makes the same step again, to the bit."""
        return asdict(self)


def node_step_of(fields: Mapping[str, Any]) -> NodeStep:
    """The step of :meth:`NodeStep.as_json`. Raises TypeError or KeyError for other values."""
    return NodeStep(
        **{
            **fields,
            "buckets": tuple(Bucket(**each) for each in fields["buckets"]),
            "blobs": tuple(Blob(**each) for each in fields["blobs"]),
            "statistics": tuple(fields["statistics"]),
            "memory": NodeMemory(**fields["memory"]),
        }
    )
