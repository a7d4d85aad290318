"""What a node's parts do in a step or for a batch, as its energy needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from sim.power.energy import Activity

POLLING: Final = frozenset({"dma_wait", "mesh_wait", "memory"})
"""Reasons of a CPE's time in which it asks again and again whether something has arrived, or of a device's in which its
memory is what is busy."""


class Work(Protocol):
    """What a node does: seconds of its active core groups' CPEs by reason, bytes that each of those moves."""

    @property
    def reasons(self) -> Mapping[str, float]: ...

    @property
    def active_core_groups(self) -> int: ...

    @property
    def moved_bytes(self) -> int: ...


def step_activity(
    *, node: Work, seconds: float, core_groups: int, network_bytes: float, storage_bytes: float = 0.0
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
