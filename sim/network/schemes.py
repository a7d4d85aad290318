"""How a library adds gradients over the ranks: which collective, who adds, packed or not. Part of a library generation.

Sources: the public repository of swCaffe at the time of SWCAFFE for ``swcaffe-2018``, THESIS chapter 7 for
``autotuned-2019`` and for what explains the rates of the machine's own MPI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from sim.machine.network_spec import NetworkSpec
from sim.network.allreduce import ALGORITHMS
from sim.network.protocol import Protocol
from sim.network.reduction import Adder, ReductionCost
from sim.problems import BadInput, Problem, nearest

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
            reduction_by="core_group",
            reduction_overlap=False,
            packing="blobs",
            overlap=False,
        ),
        "autotuned-2019": Choices(
            collective="halving_doubling",
            reduction_by="core_group",
            reduction_overlap=False,
            packing="buckets",
            overlap=False,
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


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A communication scheme with the machine's times.

    ``copy_seconds_per_byte``: the MPE copies a whole part before its collective begins.
    """

    name: str
    collective: str
    packing: Packing
    overlap: bool
    protocol: Protocol
    reduction: ReductionCost
    copy_seconds_per_byte: float = 0.0

    @property
    def summation(self) -> str:
        """The all-reduce whose order of summation the scheme has."""
        return "binomial_tree" if self.collective == REDUCE_BROADCAST else self.collective


def scheme(name: str, *, network: NetworkSpec, changed: Choices | None = None) -> Scheme:
    """The scheme ``name`` on a network, with the choices of ``changed`` in the place of its own.

    Halving of ``autotuned-2019`` joins near ranks first, the mirror image of far ones first after renumbering.
    Raises BadInput for a scheme or a collective that does not exist.
    """
    problems = []
    if name not in GENERATIONS:
        expected = f"a communication scheme ({', '.join(GENERATIONS)})"
        near = nearest(name, GENERATIONS)
        raise BadInput([Problem(file="communication", key="", value=name, expected=expected, nearest=near)])
    choices = (changed or Choices()).over(GENERATIONS[name])
    collectives = (*ALGORITHMS, "mpich", REDUCE_BROADCAST)
    if choices.collective not in collectives:
        expected = f"an all-reduce algorithm ({', '.join(collectives)})"
        near = nearest(str(choices.collective), collectives)
        problems.append(Problem(file="collective", key="", value=choices.collective, expected=expected, nearest=near))
    if problems or choices.reduction_by is None or choices.packing is None or choices.collective is None:
        raise BadInput(problems)
    protocol = replace(
        Protocol.of(network),
        message_seconds=network.protocol.blob_message_seconds if choices.packing == "blobs" else 0.0,
        segment_bytes=choices.segment_bytes,
        in_flight=choices.in_flight or 1,
    )
    stock = choices.reduction_by in ("mpe_scalar", "mpe_simd")
    return Scheme(
        name=name,
        collective=choices.collective,
        packing=choices.packing,
        overlap=bool(choices.overlap),
        protocol=protocol,
        reduction=ReductionCost.of(network, choices.reduction_by, overlapped=bool(choices.reduction_overlap)),
        copy_seconds_per_byte=network.protocol.eager_send_seconds_per_byte if stock else 0.0,
    )
