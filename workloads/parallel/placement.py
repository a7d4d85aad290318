"""Which ranks form a group: tensor ranks next to one another, then replicas, stages far apart.

What is exchanged most often stays nearest; a replica's stages, which hand on least, may be supernodes apart. Stage s
has the block of ranks from s · replicas · tensor on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.network.schedule import Ranks


@dataclass(frozen=True, kw_only=True)
class Placement:
    """``tensor`` · ``stages`` · ``replicas`` ranks."""

    tensor: int
    stages: int
    replicas: int

    @property
    def stage_ranks(self) -> int:
        """Ranks of a stage."""
        return self.tensor * self.replicas

    @property
    def ranks(self) -> int:
        return self.stage_ranks * self.stages

    def block(self, stage: int) -> Ranks:
        """A stage's ranks (replicas, tensor)."""
        first = stage * self.stage_ranks
        return np.arange(first, first + self.stage_ranks).reshape(self.replicas, self.tensor)

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
