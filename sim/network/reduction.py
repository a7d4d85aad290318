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

    ``overlapped``: parts of a message are added while the rest of it still arrives, so that only the addition's excess
    over the transfer remains.
    """

    seconds_per_byte: float
    start_seconds: float = 0.0
    overlapped: bool = False

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
        launch = spec.launch_seconds if by in CPE_ADDERS else 0.0
        return cls(seconds_per_byte=rates[by], start_seconds=launch, overlapped=overlapped)

    def seconds(self, size: int, *, transfer_seconds: float) -> float:
        """Seconds between the arrival of ``size`` bytes, ``transfer_seconds`` on the wire, and their sum."""
        adding = size * self.seconds_per_byte
        return self.start_seconds + (max(adding - transfer_seconds, 0.0) if self.overlapped else adding)

    def all_seconds(self, size: Sizes, *, transfer_seconds: Floats, out: Floats | None = None) -> Floats:
        """:meth:`seconds` of each message (messages,), to the bit; written to ``out`` if given."""
        adding: Floats = np.multiply(size, self.seconds_per_byte, out=out)
        if self.overlapped:
            adding -= transfer_seconds
            np.maximum(adding, 0.0, out=adding)
        if self.start_seconds:
            adding += self.start_seconds
        return adding
