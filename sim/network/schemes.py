"""The choices of a library for its communication, with the times of a machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sim.machine.network_spec import NetworkSpec
from sim.network.choices import GENERATIONS, REDUCE_BROADCAST, Choices, Packing
from sim.network.collectives import algorithms
from sim.network.protocol import Protocol
from sim.network.reduction import ReductionCost
from sim.problems import BadInput, Problem, nearest


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
    collectives = (*algorithms("allreduce"), REDUCE_BROADCAST)
    if choices.collective not in collectives:
        expected = f"an all-reduce algorithm ({', '.join(collectives)})"
        near = nearest(str(choices.collective), collectives)
        problems.append(Problem(file="collective", key="", value=choices.collective, expected=expected, nearest=near))
    if problems or choices.reduction_by is None or choices.packing is None or choices.collective is None:
        raise BadInput(problems)
    protocol = replace(Protocol.of(network), segment_bytes=choices.segment_bytes, in_flight=choices.in_flight or 1)
    if choices.packing == "blobs":
        protocol = replace(
            protocol,
            message_seconds=network.protocol.blob_message_seconds,
            copy_seconds_per_byte=network.protocol.eager_send_seconds_per_byte,
            copy_limit_bytes=network.protocol.blob_copy_limit_bytes,
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
