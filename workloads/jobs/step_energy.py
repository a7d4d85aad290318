"""What a node's parts do in a step, as its energy needs it."""

from __future__ import annotations

from typing import Final

from sim.power.energy import Activity
from workloads.jobs.node_step import NodeStep

POLLING: Final = frozenset({"dma_wait", "mesh_wait"})
"""Reasons of a CPE's time in which it asks again and again whether something has arrived."""


def step_activity(
    *, node: NodeStep, seconds: float, core_groups: int, network_bytes: float, storage_bytes: float = 0.0
) -> Activity:
    """A step of ``seconds`` in which ``node`` is done, on a chip of ``core_groups``; the bytes are those of a node.

    The MPE of an active core group launches, sends or polls all the time. CPEs that have nothing to do, or have not
    been launched, draw no more than the chip does anyhow.
    """
    active = node.active_core_groups / core_groups
    return Activity(
        seconds=seconds,
        compute_seconds=active * node.reasons.get("compute", 0.0),
        wait_seconds=active * sum(value for name, value in node.reasons.items() if name in POLLING),
        mpe_seconds=active * seconds,
        memory_bytes=node.active_core_groups * node.moved_bytes,
        network_bytes=network_bytes,
        storage_bytes=storage_bytes,
    )
