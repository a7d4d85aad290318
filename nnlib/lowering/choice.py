"""Whose kernels a network is lowered to: a library generation's, and how its core groups share layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:  # who does not search for plans need not load them
    from nnlib.kernels.convolutions.convolution import Pass
    from nnlib.kernels.swcaffe.products import Version
    from nnlib.lowering.planner import Planner

NetworkLibrary: TypeAlias = Literal["swcaffe-2018", "swcaffe-2019", "autotuned-2019", "searched-2019"]
"""Libraries that a whole network can run on.

``autotuned-2019`` has the kernels of that generation, all layers on the CPEs and convolutions as explicit products;
``searched-2019`` the same with the fastest plan for each pass of each convolution. The others are swCaffe: in 2019 with
the fastest plan forward, the pass that all published rates of tuned convolutions are of (THESIS chapter 5, SWATOP).
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """``library``'s kernels. ``core_groups``: that share fully connected layers in one memory, where it does that.

    ``planner``: finds the fastest plan of a convolution; without one they are explicit matrix products.
    """

    library: NetworkLibrary = "autotuned-2019"
    core_groups: int = 1
    planner: Planner | None = None

    @property
    def swcaffe(self) -> Version | None:
        """The version of swCaffe, if it is that."""
        return self.library if self.library in ("swcaffe-2018", "swcaffe-2019") else None

    @property
    def has_other_plans(self) -> bool:
        """Whether convolutions may be anything but explicit products of this project's own kernels."""
        return self.library != "autotuned-2019"

    def searches(self, which: Pass) -> bool:
        """Whether the library takes the fastest plan of a pass."""
        return self.library == "searched-2019" or (self.library == "swcaffe-2019" and which == "forward")


OWN: Final = Choice()
"""This project's own lowering: explicit matrix products on the CPEs."""
