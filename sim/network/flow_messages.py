"""All messages of a schedule at once, with the links that each crosses, and what each rank does with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.network.protocol import Protocol
from sim.network.routes import latencies
from sim.network.schedule import Schedule, Step
from sim.network.topology import Topology

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FlowMessages:
    """Every message that is not empty, in the order of the steps (messages,), and the links each crosses.

    ``steps``: those with messages, and the number of the first message of each.
    """

    source: Numbers
    destination: Numbers
    size: Numbers
    reduce: NDArray[np.bool_]
    latency: Floats
    paths: list[list[int]]
    steps: list[tuple[Step, int]]

    @classmethod
    def of(cls, schedule: Schedule, *, topology: Topology, protocol: Protocol, item_bytes: int) -> FlowMessages:
        """The messages of ``schedule``, whose elements have ``item_bytes`` bytes."""
        none = np.zeros(0, dtype=np.int64)
        columns: list[tuple[Numbers, ...]] = [(none,) * 4]
        waits: list[Floats] = [np.zeros(0)]
        paths: list[list[int]] = []
        steps: list[tuple[Step, int]] = []
        first = np.concatenate([[0], np.cumsum([kind.count for kind in topology.kinds])])
        for step in schedule.steps():
            used = np.flatnonzero(step.end > step.begin)
            if not len(used):
                continue
            source, destination = step.source[used], step.destination[used]
            size = (step.end - step.begin)[used] * item_bytes
            steps.append((step, len(paths)))
            columns.append((source, destination, size, np.full(len(used), step.reduce)))
            routes = topology.routes(source, destination)
            waits.append(latencies(routes, protocol.latencies(size), inside_seconds=topology.memory_latency_seconds))
            those: list[list[int]] = [[] for _ in used]
            for crossing in topology.crossings(source, destination):
                messages = range(len(used)) if crossing.message is None else crossing.message.tolist()
                for message, link in zip(messages, (first[crossing.kind] + crossing.link).tolist(), strict=True):
                    those[message].append(link)
            paths += those
        found = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
        return cls(
            source=found[0],
            destination=found[1],
            size=found[2],
            reduce=found[3].astype(bool),
            latency=np.concatenate(waits),
            paths=paths,
            steps=steps,
        )

    def of_step(self, number: int) -> slice:
        """The messages of the step with this number among ``steps``."""
        end = self.steps[number + 1][1] if number + 1 < len(self.steps) else len(self.paths)
        return slice(self.steps[number][1], end)

    def programs(self, *, ranks: int) -> list[list[tuple[int, int]]]:
        """For each rank its exchanges in order: the message it sends and the one it receives, -1 for none."""
        programs: list[list[tuple[int, int]]] = [[] for _ in range(ranks)]
        for number in range(len(self.steps)):
            those = self.of_step(number)
            into = dict(zip(self.destination[those].tolist(), range(those.start, those.stop), strict=True))
            for message, source in zip(range(those.start, those.stop), self.source[those].tolist(), strict=True):
                programs[source].append((message, into.pop(source, -1)))
            for rank, message in into.items():
                programs[rank].append((-1, message))
        return programs


def link_capacities(topology: Topology) -> Floats:
    """Bytes per second of every link of every kind, kind by kind."""
    pairs = zip(topology.kinds, topology.capacities, strict=True)
    return np.concatenate([np.broadcast_to(capacity, kind.count) for kind, capacity in pairs])
