"""What one node does for a batch of inference, without the network: a small description that is kept between runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class NodeAnswer:
    """A batch on one node, ``seconds`` of simulated time, shared out by ``reasons``.

    ``input_bytes`` and ``output_bytes`` are of one sample; ``memory_bytes``, and ``moved_bytes`` between memory and
    LDMs, of a core group; ``flops`` of the node, of whose ``core_groups`` some are active.
    """

    seconds: float
    reasons: Mapping[str, float]
    input_bytes: int
    output_bytes: int
    memory_bytes: int
    moved_bytes: int
    active_core_groups: int
    core_groups: int
    flops: int
    busiest: str
    launches: int
    launch_seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain values, from which :func:`node_answer_of` makes the same again, to the bit."""
        return asdict(self)


def node_answer_of(fields: Mapping[str, Any]) -> NodeAnswer:
    """The answer of :meth:`NodeAnswer.as_json`. Raises TypeError for other values."""
    return NodeAnswer(**fields)
