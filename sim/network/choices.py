"""How a library adds gradients over the ranks: which collective, who adds, packed or not. Part of a library generation.

Sources: the public repository of swCaffe at the time of SWCAFFE for ``swcaffe-2018``, THESIS chapter 7 for
``swcaffe-2019`` and for what explains the rates of the machine's own MPI. ``autotuned-2019`` is the same but for
gradients that leave during the backward pass, which none of the measured frameworks let them do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

Adder: TypeAlias = Literal["mpe_scalar", "mpe_simd", "core_group", "chip"]
"""Who adds: the MPE number by number or with vectors, the CPEs of one core group or of all."""
REDUCE_BROADCAST: Final = "reduce_broadcast"
"""Instead of an all-reduce: up a binomial tree to rank 0, then the MPI library's broadcast."""
Packing: TypeAlias = Literal["buckets", "blobs"]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a library generation does with gradients, and what a mapping may change; the defaults change nothing.

    ``collective``: an all-reduce, ``mpich`` or ``reduce_broadcast``. ``reduction_by`` adds what arrives, under the wire
    if ``reduction_overlap``. ``packing``: blobs go one by one. ``overlap``: gradients leave during the backward pass.
    Messages longer than ``segment_bytes`` are split, ``in_flight`` segments under way at a time.
    """

    collective: str | None = None
    reduction_by: Adder | None = None
    reduction_overlap: bool | None = None
    packing: Packing | None = None
    overlap: bool | None = None
    segment_bytes: int | None = None
    in_flight: int | None = None

    def over(self, base: Choices) -> Choices:
        """These choices, with what they leave open taken from ``base``."""
        return replace(base, **{name: value for name, value in vars(self).items() if value is not None})


GENERATIONS: Final[Mapping[str, Choices]] = MappingProxyType(
    {
        "swcaffe-2018": Choices(
            collective=REDUCE_BROADCAST,
            reduction_by="chip",
            reduction_overlap=False,
            packing="blobs",
            overlap=False,
        ),
        "swcaffe-2019": Choices(
            collective="halving_doubling",
            reduction_by="core_group",
            reduction_overlap=False,
            packing="buckets",
            overlap=False,
        ),
        "autotuned-2019": Choices(
            collective="halving_doubling",
            reduction_by="core_group",
            reduction_overlap=False,
            packing="buckets",
            overlap=True,
        ),
        "stock-mpi": Choices(
            collective="mpich",
            reduction_by="mpe_scalar",
            reduction_overlap=True,
            packing="buckets",
            overlap=False,
        ),
    }
)
