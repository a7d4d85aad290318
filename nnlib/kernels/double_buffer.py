"""Two LDM buffers that an array takes in turns, for programs whose loop is not that of :func:`streaming.stream`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.chip.memory import MemoryArray
from sim.chip.tile import Split, Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Start, Transfer


@dataclass(frozen=True, eq=False)
class DoubleBuffer:
    """The buffers of ``name``; rounds are numbered, and take them in turns."""

    core_group: CoreGroup
    name: str
    tiles: tuple[Tile, Tile]

    @classmethod
    def of(
        cls, core_group: CoreGroup, name: str, *, size: Sequence[int], dtype: np.dtype[np.floating], split: Split | None
    ) -> DoubleBuffer:
        """Allocate both. Raises LdmOverflow."""
        first, second = (core_group.alloc(f"{name}.{i}", size=size, dtype=dtype, split=split) for i in range(2))
        return cls(core_group, name, (first, second))

    def tile(self, number: int) -> Tile:
        """That of a round."""
        return self.tiles[number % 2]

    def get(self, number: int, array: MemoryArray, start: Start) -> Transfer:
        """Start getting a round's."""
        return self.core_group.get(self.tile(number), array, start)

    def put(self, number: int, array: MemoryArray, start: Start) -> Transfer:
        """Start putting a round's."""
        return self.core_group.put(self.tile(number), array, start)

    def free(self) -> None:
        """Give both back."""
        self.core_group.free(*self.tiles)
