"""Whose kernels a network is lowered to: a library generation's, and how its core groups share layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.swcaffe.products import Version

NetworkLibrary: TypeAlias = Literal["swcaffe-2018", "swcaffe-2019", "autotuned-2019"]
"""Libraries that a whole network can run on. ``autotuned-2019`` has all layers on the CPEs; the others are swCaffe."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """``library``'s kernels. ``core_groups``: that share fully connected layers in one memory, where it does that.

    ``clock``: finds the fastest plan of a convolution; without one they are explicit matrix products.
    """

    library: NetworkLibrary = "autotuned-2019"
    core_groups: int = 1
    clock: KernelClock | None = None

    @property
    def swcaffe(self) -> Version | None:
        """The version of swCaffe, if it is that."""
        return None if self.library == "autotuned-2019" else self.library


OWN: Final = Choice()
"""This project's own lowering: explicit matrix products on the CPEs."""
