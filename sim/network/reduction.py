"""What adding received numbers to one's own costs, whoever does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.machine.network_spec import NetworkSpec
from sim.network.choices import Adder

Floats = NDArray[np.float64]
Sizes = NDArray[np.int64]

CPE_ADDERS: Final = ("core_group", "chip")


@dataclass(frozen=True, kw_only=True)
class ReductionCost:
    """``start_seconds`` for each message (launching the cores that add), then ``seconds_per_byte`` received.

    ``alone_seconds_per_byte``: of the core that launches the others; it adds short messages itself, where that is
    faster. ``overlapped``: parts of a message are added while the rest of it still arrives, so that only the
    addition's excess over the transfer remains.
    """

    seconds_per_byte: float
    start_seconds: float = 0.0
    overlapped: bool = False
    alone_seconds_per_byte: float | None = None

    @classmethod
    def of(cls, network: NetworkSpec, by: Adder = "core_group", *, overlapped: bool = False) -> ReductionCost:
        """The machine's cost of an addition done ``by`` those."""
        spec = network.reduction
        rates: Mapping[Adder, float] = {
            "mpe_scalar": spec.mpe_scalar_seconds_per_byte,
            "mpe_simd": spec.mpe_simd_seconds_per_byte,
            "core_group": spec.core_group_seconds_per_byte,
            "chip": spec.chip_seconds_per_byte,
        }
        if by not in CPE_ADDERS:
            return cls(seconds_per_byte=rates[by], overlapped=overlapped)
        return cls(
            seconds_per_byte=rates[by],
            start_seconds=spec.launch_seconds,
            overlapped=overlapped,
            alone_seconds_per_byte=spec.mpe_scalar_seconds_per_byte,
        )

    def seconds(self, size: int, *, transfer_seconds: float) -> float:
        """Seconds between the arrival of ``size`` bytes, ``transfer_seconds`` on the wire, and their sum."""
        adding = self._beside(size * self.seconds_per_byte, transfer_seconds) + self.start_seconds
        if self.alone_seconds_per_byte is None:
            return adding
        return min(adding, self._beside(size * self.alone_seconds_per_byte, transfer_seconds))

    def all_seconds(self, size: Sizes, *, transfer_seconds: Floats, out: Floats | None = None) -> Floats:
        """:meth:`seconds` of each message (messages,), to the bit; written to ``out`` if given."""
        adding: Floats = np.multiply(size, self.seconds_per_byte, out=out)
        if self.overlapped:
            adding -= transfer_seconds
            np.maximum(adding, 0.0, out=adding)
        adding += self.start_seconds
        if self.alone_seconds_per_byte is not None and self._some_alone(int(size.min(initial=0))):
            alone = size * self.alone_seconds_per_byte
            if self.overlapped:
                alone = np.maximum(alone - transfer_seconds, 0.0)
            np.minimum(adding, alone, out=adding)
        return adding

    def _beside(self, adding: float, transfer: float) -> float:
        """What is left of an addition after the transfer that it goes along with."""
        return max(adding - transfer, 0.0) if self.overlapped else adding

    def _some_alone(self, least: int) -> bool:
        """Whether a message of ``least`` bytes may be added without the other cores."""
        alone = self.alone_seconds_per_byte or 0.0
        return self.overlapped or least * alone <= self.start_seconds + least * self.seconds_per_byte
