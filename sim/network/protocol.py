"""What the MPI library adds to a message's time on the wire.

Short messages are sent at once (eager), from ``eager_limit_bytes`` on after a handshake (rendezvous): SWCAFFE figure 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.machine.network_spec import NetworkSpec

Floats = NDArray[np.float64]
Sizes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Seconds of software for each message of a blocking exchange, as in collectives.

    ``copy_seconds_per_byte``: what the MPE copies before or after the wire, not under it. ``message_seconds``: of the
    caller, for every message whatever its size.
    """

    eager_limit_bytes: int
    eager_latency_seconds: float
    rendezvous_latency_seconds: float
    copy_seconds_per_byte: float = 0.0
    message_seconds: float = 0.0

    @classmethod
    def of(cls, network: NetworkSpec) -> Protocol:
        """The machine's own MPI."""
        return cls(
            eager_limit_bytes=network.protocol.eager_limit_bytes,
            eager_latency_seconds=network.protocol.eager_latency_seconds,
            rendezvous_latency_seconds=network.protocol.rendezvous_latency_seconds,
        )

    def seconds(self, size: int) -> float:
        """Software seconds of one message of ``size`` bytes."""
        eager = size < self.eager_limit_bytes
        latency = self.eager_latency_seconds if eager else self.rendezvous_latency_seconds
        return (latency + self.message_seconds) + size * self.copy_seconds_per_byte

    def latencies(self, size: Sizes) -> Floats:
        """:meth:`seconds` of each size (messages,), to the bit; read-only where all are equal."""
        if not len(size):
            return np.zeros(0)
        eager, rendezvous = self.eager_latency_seconds, self.rendezvous_latency_seconds
        if int(size.max()) < self.eager_limit_bytes:
            found: Floats = np.array([eager + self.message_seconds])
        elif int(size.min()) >= self.eager_limit_bytes:
            found = np.array([rendezvous + self.message_seconds])
        else:
            found = np.where(size < self.eager_limit_bytes, eager, rendezvous) + self.message_seconds
        if self.copy_seconds_per_byte:
            found = found + size * self.copy_seconds_per_byte
        return np.broadcast_to(found, size.shape)
