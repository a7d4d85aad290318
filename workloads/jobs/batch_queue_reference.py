"""The same service as SimPy processes, a dispatcher and a node each: slow, plain, and the measure of the fast one."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from workloads.jobs.batch_queue import BatchServer


@dataclass
class _Node:
    """Requests that wait (number and time of arrival), and what wakes the node when another comes."""

    waiting: deque[tuple[int, float]] = field(default_factory=deque)
    wake: simpy.Event | None = None


def serve(server: BatchServer, arrivals: Sequence[float], *, replicas: int) -> list[float]:
    """When each of the requests, handed to ``replicas`` nodes in turn, is answered."""
    env = simpy.Environment()
    nodes = [_Node() for _ in range(replicas)]
    finish = [0.0] * len(arrivals)
    for node in nodes:
        env.process(_work(env, server, node, finish))
    env.process(_dispatch(env, nodes, arrivals))
    env.run()
    return finish


def _dispatch(env: simpy.Environment, nodes: list[_Node], arrivals: Sequence[float]) -> Generator[Any, Any, None]:
    for number, arrival in enumerate(arrivals):
        yield env.timeout(arrival - env.now)
        node = nodes[number % len(nodes)]
        # the time as given: the clock's may differ in the last digit
        node.waiting.append((number, arrival))
        if node.wake is not None and not node.wake.triggered:
            node.wake.succeed()


def _work(env: simpy.Environment, server: BatchServer, node: _Node, finish: list[float]) -> Generator[Any, Any, None]:
    while True:
        if not node.waiting:
            node.wake = env.event()
            yield node.wake
        patience = node.waiting[0][1] + server.max_wait_seconds
        while len(node.waiting) < server.largest and env.now < patience:
            node.wake = env.event()
            yield node.wake | env.timeout(patience - env.now)
        size = min(server.largest, len(node.waiting))
        taken = [node.waiting.popleft() for _ in range(size)]
        yield env.timeout(server.batch_seconds(size))
        for number, _ in taken:
            finish[number] = env.now
