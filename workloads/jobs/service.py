"""An inference service: nodes that each hold the whole network, and requests that arrive at random or as recorded.

Requests are handed to the nodes in turn. Of a stream without memory (Poisson) every node then gets each N-th request,
whose distances are sums of N exponential ones: all nodes see the same distribution, so that one stands for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.jobs.batch_queue import BatchServer, answer_all

Floats = NDArray[np.float64]
WARM_UP = 0.1
"""Share of the requests of a random stream, the first ones, that find a service still empty and do not count."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """``replicas`` nodes like ``server``; a request travels ``inward_seconds`` to its node, its answer back.

    ``link_requests_per_second``: what a node's share of the network carries.
    """

    server: BatchServer
    replicas: int
    inward_seconds: float
    outward_seconds: float
    link_requests_per_second: float

    @property
    def requests_per_second(self) -> float:
        """What all nodes answer together when there are always enough requests."""
        return self.replicas * min(self.server.requests_per_second, self.link_requests_per_second)


@dataclass(frozen=True, kw_only=True)
class Served:
    """How a service did. ``latencies``: seconds from request to answer (requests,), those of the warm-up left out.

    ``utilisation``: share of the time in which a node computes. ``mean_batch``: requests in a batch.
    """

    latencies: Floats
    requests_per_second: float
    utilisation: float
    mean_batch: float

    def percentile(self, share: float) -> float:
        """The latency that ``share`` per cent of the requests do not exceed."""
        return float(np.percentile(self.latencies, share))


def serve_poisson(service: Service, *, rate: float, requests: int, seed: int) -> Served | None:
    """``requests`` requests of one node, when ``rate`` a second arrive at all nodes together.

    None where they are more than the service answers: the queue then grows as long as it lasts.
    """
    if rate >= service.requests_per_second:
        return None
    rng = np.random.default_rng([seed, service.replicas])
    arrivals = np.cumsum(rng.gamma(service.replicas, 1.0 / rate, requests))
    return _served(service, [arrivals], skip=int(WARM_UP * requests), rate=rate)


def serve_recorded(service: Service, arrivals: Floats) -> Served:
    """Requests at recorded times ``arrivals`` (requests,), ascending, in seconds; all of them count."""
    each = [part for first in range(service.replicas) if len(part := arrivals[first :: service.replicas])]
    return _served(service, each, skip=0, rate=None)


def _served(service: Service, streams: list[Floats], *, skip: int, rate: float | None) -> Served:
    """``rate``: of all requests together; None: what came in fact."""
    waits, batches, busy = [], 0, 0.0
    begin, end = np.inf, 0.0
    for arrivals in streams:
        done = answer_all(service.server, arrivals + service.inward_seconds)
        waits.append(done.finish[skip:] + service.outward_seconds - arrivals[skip:])
        batches += len(done.batches)
        busy += done.busy_seconds
        begin, end = min(begin, float(arrivals[0])), max(end, float(done.finish[-1]))
    total = sum(len(arrivals) for arrivals in streams)
    lasted = end - begin
    nodes = 1 if rate is not None else service.replicas
    return Served(
        latencies=np.concatenate(waits),
        requests_per_second=total / lasted if rate is None else rate,
        utilisation=busy / (nodes * lasted),
        mean_batch=total / batches,
    )
