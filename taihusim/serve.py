"""``serve``: latencies of an inference service whose requests arrive one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.machine.quantity import DURATION, Quantity
from sim.power.energy import energy, idle_watts
from sim.problems import BadInput, Problem
from taihusim.node_counts import node_problems
from taihusim.node_steps import NodeSteps
from workloads.inference import InferenceTiming, message_seconds, outside_rate, time_inference
from workloads.jobs.batch_queue import BatchServer
from workloads.jobs.service import Served, Service, serve_poisson, serve_recorded

QUEUE_SHARE = 0.5
"""Share of a median request's latency above which the queue is what it waits for."""


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """What is asked. Requests come at random, ``rate`` a second or ``load`` of what the nodes can, or as recorded."""

    nodes: tuple[int, ...]
    batch_sizes: tuple[int, ...] | None
    max_wait_seconds: float
    rate: float | None
    load: float
    arrivals: NDArray[np.float64] | None
    requests: int
    seed: int


def serve(
    steps: NodeSteps, request: ServeRequest, *, say: Callable[[str, float | None], None] = lambda text, share: None
) -> dict[str, Any]:
    """The object that ``taihusim serve --json`` prints. Raises BadInput with all problems."""
    problems = node_problems(request.nodes, machine=steps.machine)
    if not steps.mapping.strategy.is_data:
        expected = "data: every node answers with the whole network"
        problems.append(Problem(file="--strategy", key="", value=str(steps.mapping.strategy), expected=expected))
    if problems:
        raise BadInput(problems)
    sizes = request.batch_sizes or quarters(steps.mapping.batch_per_node or steps.facts.batch_per_node)
    points = []
    for number, nodes in enumerate(request.nodes):
        say(f"{nodes:,} nodes", number / len(request.nodes))
        points.append(_point(steps, request, sizes=sizes, nodes=nodes))
    return {
        "workload": steps.facts.name,
        "machine": steps.machine.name,
        "seed": request.seed,
        "arrivals": "poisson" if request.arrivals is None else "recorded",
        "batch_sizes": list(sizes),
        "max_wait_seconds": request.max_wait_seconds,
        "points": points,
    }


def quarters(most: int) -> tuple[int, ...]:
    """The sizes that a network is prepared for: ``most``, a quarter of it, a quarter of that, down to one."""
    sizes = [most]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // 4))
    return tuple(reversed(sizes))


def read_arrivals(path: Path) -> NDArray[np.float64]:
    """Times of arrival in seconds, one a line. Raises BadInput for what is no ascending list of times."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        expected = f"a text file with a time of arrival in seconds on each line ({reason})"
        raise BadInput([Problem(file="--arrivals", key="", value=str(path), expected=expected)]) from None
    problems: list[Problem] = []
    times: list[float] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = float(line)
        except ValueError:
            value = float("nan")
        least = times[-1] if times else 0.0
        if not np.isfinite(value) or value < least:
            expected = f"a time in seconds, not before {least:g}"
            problems.append(Problem(file=str(path), key=f"line {number}", value=line.strip(), expected=expected))
            continue
        times.append(value)
    if not times and not problems:
        problems.append(Problem(file=str(path), key="", value=None, expected="at least one time of arrival"))
    if problems:
        raise BadInput(problems)
    return np.array(times, dtype=np.float64)


def read_sizes(text: str) -> tuple[int, ...]:
    """Sizes of batches from ``1,8,32``. Raises BadInput for what does not rise from one on."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or sizes[0] < 1 or list(sizes) != sorted(set(sizes)):
        expected = "rising numbers of requests such as 1,8,32"
        raise BadInput([Problem(file="--batch-sizes", key="", value=text, expected=expected)])
    return sizes


def read_wait(text: str) -> float:
    """Seconds of ``1ms``. Raises BadInput for what is no duration."""
    try:
        return Quantity(dimension=DURATION, zero=True).parse(text)
    except ValueError as error:
        raise BadInput([Problem(file="--max-wait", key="", value=text, expected=str(error))]) from None


def _point(steps: NodeSteps, request: ServeRequest, *, sizes: tuple[int, ...], nodes: int) -> dict[str, Any]:
    machine = steps.machine
    network = machine.network
    answers = [steps.answering(size) for size in sizes]
    timings = [
        time_inference(node=node, network=network, batch=size, nodes=nodes)
        for size, node in zip(sizes, answers, strict=True)
    ]
    largest = answers[-1]
    bytes_in, bytes_out = largest.input_bytes, largest.output_bytes
    service = Service(
        server=BatchServer(
            sizes=sizes, seconds=tuple(each.seconds for each in answers), max_wait_seconds=request.max_wait_seconds
        ),
        replicas=nodes,
        inward_seconds=message_seconds(network=network, size=bytes_in, nodes=nodes),
        outward_seconds=message_seconds(network=network, size=bytes_out, nodes=nodes),
        link_requests_per_second=outside_rate(network=network, nodes=nodes) / max(bytes_in, bytes_out),
    )
    capacity = service.requests_per_second
    if request.arrivals is not None:
        served: Served | None = serve_recorded(service, request.arrivals)
        rate = None if served is None else served.requests_per_second
    else:
        rate = request.load * capacity if request.rate is None else request.rate
        served = serve_poisson(service, rate=rate, requests=request.requests, seed=request.seed)
    return {
        "nodes": nodes,
        "cores": nodes * machine.computing.cores,
        "requests_per_second": rate,
        "capacity_requests_per_second": capacity,
        "load": None if rate is None else rate / capacity,
        "keeps_up": served is not None,
        "requests": None if served is None else len(served.latencies),
        "mean_batch": None if served is None else served.mean_batch,
        "utilisation": None if served is None else served.utilisation,
        "latency_mean": None if served is None else float(served.latencies.mean()),
        "latency_p50": None if served is None else served.percentile(50),
        "latency_p99": None if served is None else served.percentile(99),
        "latency_p999": None if served is None else served.percentile(99.9),
        "energy_joules_per_request": None if served is None else _joules(steps, served, timings[-1], nodes=nodes),
        "bottleneck": _bottleneck(service, served),
    }


def _joules(steps: NodeSteps, served: Served, busy: InferenceTiming, *, nodes: int) -> float:
    """Energy of all nodes, at work or idle, for each request."""
    working = energy(steps.machine, busy.activity).total_joules / busy.seconds
    idle = idle_watts(steps.machine)
    watts = served.utilisation * working + (1.0 - served.utilisation) * idle
    return nodes * watts / served.requests_per_second


def _bottleneck(service: Service, served: Served | None) -> str:
    """What a request spends its time on, or what cannot keep up."""
    server = service.server
    if served is None:
        if service.link_requests_per_second < server.requests_per_second:
            return "network: more requests than the nodes' links can carry; the queue grows without end"
        return "nodes: more requests than they can answer; the queue grows without end"
    median = served.percentile(50)
    travel = service.inward_seconds + service.outward_seconds
    alone = server.batch_seconds(min(server.largest, max(1, round(served.mean_batch))))
    waiting = max(0.0, median - alone - travel)
    if waiting > QUEUE_SHARE * median:
        return f"queue: half of the requests wait more than {100 * waiting / median:.0f} % of their time for a batch"
    if travel > alone:
        return f"network: {100 * travel / median:.0f} % of a request's time is its way to the node and back"
    return f"nodes: {100 * min(1.0, alone / median):.0f} % of a request's time its own batch is computed"
