"""The local data memory (LDM) of a CPE: an allocator with the hard limit."""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.chip.errors import LdmOverflow

VECTOR_ALIGNMENT = 32
"""Bytes to which every buffer is aligned: a 256-bit vector load needs it (SWDNN17)."""


def aligned(size: int) -> int:
    """Bytes that a buffer of ``size`` bytes takes in the LDM."""
    return -(-size // VECTOR_ALIGNMENT) * VECTOR_ALIGNMENT


@dataclass
class Ldm:
    """Live buffers of one CPE's LDM of ``capacity`` bytes; all 64 CPEs of a core group allocate alike.

    ``owner`` begins the message of an overflow: which kernel, which CPEs.
    """

    capacity: int
    owner: str = ""
    live: dict[str, int] = field(default_factory=dict)
    high_water: int = 0

    @property
    def used(self) -> int:
        """Bytes in use, alignment included."""
        return sum(self.live.values())

    def allocate(self, *, name: str, size: int) -> None:
        """Take ``size`` bytes under ``name``.

        Raises :class:`LdmOverflow`, naming every live buffer, if they do not fit.
        """
        if name in self.live:
            raise ValueError(f"LDM buffer {name!r} is already allocated")
        taken = aligned(size)
        if self.used + taken > self.capacity:
            held = ", ".join(f"{other} {held} B" for other, held in self.live.items()) or "nothing"
            raise LdmOverflow(
                f"{self.owner}LDM buffer {name!r} of {taken} B does not fit: {self.used} of {self.capacity} B are "
                f"in use ({held}); choose smaller tiles or a larger LDM"
            )
        self.live[name] = taken
        self.high_water = max(self.high_water, self.used)

    def free(self, *, name: str) -> None:
        """Give the buffer back. Raises KeyError if it is not live."""
        del self.live[name]
