"""What can go wrong on a chip, by name: nothing is silently wrong."""

from __future__ import annotations


class ChipError(Exception):
    """A program that the simulated chip could not run."""


class LdmOverflow(ChipError):
    """A buffer does not fit in the LDM; the message lists the live buffers."""


class BufferHazard(ChipError):
    """A buffer was read before its data arrived, or written while a put still reads it."""


class UnfinishedTransfer(ChipError):
    """A program ended with transfers that nobody waited for."""


class LimitReached(ChipError):
    """A program takes longer than whoever asked wanted to know."""


class Deadlock(ChipError):
    """CPEs wait for something that can no longer happen."""


class UnalignedAccess(ChipError):
    """A vector instruction or a vector-wide global access meets an address that is no multiple of the vector."""


class ModeNotAllowed(ChipError):
    """A DMA mode that does not exist in that direction, or does not suit how the buffer is divided."""
