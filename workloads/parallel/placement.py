"""Which ranks form a group: tensor ranks next to one another, then replicas or stages, whichever exchange more.

What is exchanged most often, within layers, stays nearest. Where replicas are near, stage s has the block of ranks from
s · replicas · tensor on, and its sums stay in few supernodes; where stages are near, replica r has the block from
r · stages · tensor on, and what stages hand on does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from sim.network.schedule import Ranks

Near: TypeAlias = Literal["replicas", "stages"]
NEAR: Final[tuple[Near, ...]] = ("replicas", "stages")


@dataclass(frozen=True, kw_only=True)
class Placement:
    """``tensor`` · ``stages`` · ``replicas`` ranks."""

    tensor: int
    stages: int
    replicas: int
    near: Near = "replicas"

    @property
    def ranks(self) -> int:
        return self.tensor * self.replicas * self.stages

    def block(self, stage: int) -> Ranks:
        """A stage's ranks (replicas, tensor)."""
        ranks: Ranks = np.arange(self.ranks)
        if self.near == "stages":
            found: Ranks = ranks.reshape(self.replicas, self.stages, self.tensor)[:, stage]
        else:
            found = ranks.reshape(self.stages, self.replicas, self.tensor)[stage]
        return found

    def tensor_groups(self, stage: int) -> Ranks:
        """The ranks that share a stage's layers: (replicas, tensor)."""
        return self.block(stage)

    def replica_groups(self, stage: int) -> Ranks:
        """The ranks that have the same part of a stage: (tensor, replicas)."""
        return np.ascontiguousarray(self.block(stage).T)

    def pairs(self, source: int, destination: int) -> Ranks:
        """The ranks of two stages that hand tensors to one another: (replicas · tensor, 2)."""
        return np.stack([self.block(source).ravel(), self.block(destination).ravel()], axis=1)

    def whole_replicas(self) -> Ranks:
        """The ranks of each replica: (replicas, stages · tensor)."""
        blocks = [self.block(stage) for stage in range(self.stages)]
        return np.concatenate(blocks, axis=1)

    def reading(self, *, ranks_per_node: int) -> tuple[int, int]:
        """Nodes that read samples, as they have ranks of the first stage, and the most replicas that one of them has.

        Ranks that share layers need the same samples, which those of one node have in common.
        """
        node = self.block(0) // ranks_per_node
        replica = np.broadcast_to(np.arange(self.replicas)[:, None], node.shape)
        pairs = np.unique(np.stack([node.ravel(), replica.ravel()]), axis=1)
        nodes, replicas = np.unique(pairs[0], return_counts=True)
        return len(nodes), int(replicas.max())
