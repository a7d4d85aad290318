"""One collective on a machine's network: its time, what held it up, and what each rank did when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from sim.machine.quantity import SIZE, Quantity
from sim.machine.spec import MachineSpec
from sim.network.choices import Adder
from sim.network.collectives import DEFAULT_SEGMENTS, algorithms, collective, operation_name
from sim.network.fair_time import fair_time
from sim.network.flows import MOST_NODES, run_flows
from sim.network.protocol import Protocol
from sim.network.ranks import CollectiveResult
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule
from sim.network.topology import Topology
from sim.problems import BadInput, Problem, nearest
from taihusim.collective_trace import StepTrace
from workloads.words import size_in_words

NetworkModel: TypeAlias = Literal["step", "flow"]
MOST_OFFSET: Final = 1 << 62
"""Bytes times parts: the bounds of parts are products of the two."""
BUSIEST: Final = 8
"""Links that are named."""
DEFAULTS: Final = {
    "allreduce": "halving_doubling",
    "broadcast": "mpich",
    "scatter": "binomial_tree",
    "gather": "binomial_tree",
    "reduce": "binomial_tree",
    "reduce_scatter": "halving",
    "allgather": "doubling",
    "alltoall": "pairwise",
}
"""Algorithms if none is asked for."""


@dataclass(frozen=True, kw_only=True)
class CollectiveRequest:
    """What is asked: ``size`` bytes for each rank, all of them together where each has a part."""

    operation: str
    algorithm: str | None
    size: int
    nodes: int
    ranks_per_node: int = 1
    segments: int = DEFAULT_SEGMENTS
    reduction_by: Adder = "core_group"
    reduction_overlap: bool = False
    message_segment: int | None = None
    in_flight: int = 1
    network: NetworkModel = "step"


@dataclass(frozen=True, kw_only=True)
class Collective:
    """What came out. ``trace`` is None where it was not asked for."""

    request: CollectiveRequest
    machine: MachineSpec
    schedule: Schedule
    result: CollectiveResult
    trace: StepTrace | None
    host_seconds: float

    @property
    def seconds(self) -> float:
        """Until the last rank is through."""
        return float(self.result.finish.max())

    @property
    def effective_bytes_per_second(self) -> float | None:
        """Bytes that have to pass a rank at least, in the time of the collective; None for one rank."""
        ranks, size = self.schedule.ranks, self.request.size
        if ranks == 1:
            return None
        factor = {"allreduce": 2 * (ranks - 1) / ranks, "broadcast": 1.0, "reduce": 1.0}
        return factor.get(self.request.operation, (ranks - 1) / ranks) * size / self.seconds

    def as_json(self) -> dict[str, Any]:
        """Plain values with stable names."""
        result, request, rate = self.result, self.request, self.effective_bytes_per_second
        return {
            "op": request.operation,
            "algorithm": request.algorithm,
            "nodes": request.nodes,
            "ranks": self.schedule.ranks,
            "bytes": request.size,
            "seconds": self.seconds,
            "seconds_first_rank": float(result.finish.min()),
            "effective_gbs": None if rate is None else rate / 1e9,
            "busiest_links": [
                {**vars(link), "busy_share": link.busy_seconds / self.seconds} for link in result.links.busiest(BUSIEST)
            ],
            "host_seconds": self.host_seconds,
            "busiest_link_of_each_kind": [
                {**vars(link), "busy_share": link.busy_seconds / self.seconds}
                for link in result.links.busiest_of_each_kind()
            ],
            "machine": self.machine.name,
            "network": request.network,
            "contention": result.contention,
            "steps": result.steps,
            "messages": result.messages,
            "moved_bytes": result.bytes,
            "latency_seconds": result.latency_seconds,
            "transfer_seconds": result.transfer_seconds,
            "reduce_seconds": result.reduce_seconds,
            "seconds_by_rank": _spread(result.finish),
            "step_by_step": None if self.trace is None else self.trace.as_json(),
        }


def collective_request(
    *, machine: MachineSpec, op: str, size: str, algorithm: str | None, message_segment: str | None, **asked: Any
) -> CollectiveRequest:
    """What was asked on the command line, checked. Raises BadInput with all problems."""
    problems: list[Problem] = []
    operation = op
    try:
        operation = operation_name(op)
    except BadInput as bad:
        problems += bad.problems
    name = algorithm and algorithm.replace("-", "_").lower()
    if not problems:
        name = name or DEFAULTS[operation]
        if name not in algorithms(operation):
            problems += _unknown(operation, name)
    found = _size("--bytes", size, problems)
    segment = None if message_segment is None else _size("--message-segment", message_segment, problems)
    request = CollectiveRequest(operation=operation, algorithm=name, size=found, message_segment=segment, **asked)
    limit = min(machine.nodes, MOST_NODES) if request.network == "flow" else machine.nodes
    if not 1 <= request.nodes <= limit:
        what = "the most of single flows" if limit < machine.nodes else f"the nodes of {machine.name}"
        expected = f"1 to {limit:,}, {what}"
        problems.append(Problem(file="--nodes", key="", value=request.nodes, expected=expected))
    most = MOST_OFFSET // max(request.nodes * request.ranks_per_node, request.segments, 1)
    if found > most:
        expected = f"at most {size_in_words(most)} for each rank, whose parts are counted in whole numbers of 64 bits"
        problems.append(Problem(file="--bytes", key="", value=size, expected=expected))
    if problems:
        raise BadInput(problems)
    return request


def run_collective(request: CollectiveRequest, *, machine: MachineSpec, trace: bool = False) -> Collective:
    """Time a collective from ranks that start together. Raises BadInput for what cannot be.

    ``trace``: keep what each step did. Parts of an all-to-all are rounded up to whole bytes.
    """
    begin = time.perf_counter()
    topology = Topology(machine.network, request.nodes, request.ranks_per_node)
    elements = request.size
    if request.operation == "alltoall":
        elements = -(-elements // topology.ranks) * topology.ranks
    schedule = collective(
        request.operation,
        request.algorithm or DEFAULTS[request.operation],
        topology=topology,
        elements=elements,
        segments=request.segments,
    )
    protocol = replace(Protocol.of(machine.network), segment_bytes=request.message_segment, in_flight=request.in_flight)
    reduction = ReductionCost.of(machine.network, request.reduction_by, overlapped=request.reduction_overlap)
    steps = StepTrace(topology.ranks) if trace else None
    result = (run_flows if request.network == "flow" else fair_time)(
        schedule,
        topology=topology,
        protocol=protocol,
        reduction=reduction,
        start=np.zeros(topology.ranks),
        item_bytes=1,
        observe=None if steps is None else steps.observe,
    )
    return Collective(
        request=request,
        machine=machine,
        schedule=schedule,
        result=result,
        trace=steps,
        host_seconds=time.perf_counter() - begin,
    )


def _unknown(operation: str, name: str) -> Sequence[Problem]:
    names = algorithms(operation)
    expected = f"an algorithm of {operation} ({', '.join(names)})"
    return [Problem(file="--algorithm", key="", value=name, expected=expected, nearest=nearest(name, names))]


def _size(option: str, text: str, problems: list[Problem]) -> int:
    """Bytes, also without a unit, which the options' names say; or 0 with a problem added."""
    if text.isdecimal():
        text += " B"
    try:
        return int(Quantity(dimension=SIZE, whole=True).parse(text))
    except ValueError as error:
        problems.append(Problem(file=option, key="", value=text, expected=str(error)))
        return 0


def _spread(finish: Any) -> dict[str, float]:
    """When ranks are through: first, median, mean, last."""
    return {
        "first": float(finish.min()),
        "median": float(np.median(finish)),
        "mean": float(finish.mean()),
        "last": float(finish.max()),
    }
