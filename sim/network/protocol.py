"""What the MPI library adds to a message's time on the wire.

Short messages are copied and sent at once (eager), from ``eager_limit_bytes`` on they wait for a handshake
(rendezvous): SWCAFFE figure 6.
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

    ``eager_seconds_per_byte``: copies of short messages. ``copy_seconds_per_byte``: of longer ones up to
    ``copy_limit_bytes`` (None: all), which the MPE copies before the wire, not under it. ``message_seconds``: of the
    caller, for every message whatever its size.

    A message longer than ``segment_bytes`` is split. With one segment ``in_flight`` at a time each pays the whole
    latency; with several only the first does, and between the others the wire waits for ``gap_seconds``.
    """

    eager_limit_bytes: int
    eager_latency_seconds: float
    rendezvous_latency_seconds: float
    eager_seconds_per_byte: float = 0.0
    copy_seconds_per_byte: float = 0.0
    copy_limit_bytes: int | None = None
    message_seconds: float = 0.0
    segment_bytes: int | None = None
    in_flight: int = 1
    gap_seconds: float = 0.0

    @classmethod
    def of(cls, network: NetworkSpec) -> Protocol:
        """The machine's own MPI."""
        protocol = network.protocol
        return cls(
            eager_limit_bytes=protocol.eager_limit_bytes,
            eager_latency_seconds=protocol.eager_latency_seconds,
            rendezvous_latency_seconds=protocol.rendezvous_latency_seconds,
            eager_seconds_per_byte=protocol.eager_seconds_per_byte,
            gap_seconds=protocol.rendezvous_gap_seconds,
        )

    def seconds(self, size: int) -> float:
        """Software seconds of one message of ``size`` bytes."""
        pieces, piece = 1, size
        if self.segment_bytes is not None and size > self.segment_bytes:
            pieces, piece = -(-size // self.segment_bytes), self.segment_bytes
        eager = piece < self.eager_limit_bytes
        latency = self.eager_latency_seconds if eager else self.rendezvous_latency_seconds
        copied = self.copy_limit_bytes is None or piece <= self.copy_limit_bytes
        copy = self.eager_seconds_per_byte if eager else self.copy_seconds_per_byte if copied else 0.0
        following = latency if self.in_flight == 1 else self.gap_seconds
        return (latency + self.message_seconds) + ((pieces - 1) * following + size * copy)

    def latencies(self, size: Sizes) -> Floats:
        """:meth:`seconds` of each size (messages,), to the bit; read-only where all are equal."""
        if not len(size):
            return np.zeros(0)
        least, most = int(size.min()), int(size.max())
        if least == most:
            return np.broadcast_to(np.array([self.seconds(most)]), size.shape)
        if self.segment_bytes is not None and most > self.segment_bytes:
            return np.array([self.seconds(each) for each in size.tolist()])
        eager, rendezvous = self.eager_latency_seconds, self.rendezvous_latency_seconds
        limit = most if self.copy_limit_bytes is None else self.copy_limit_bytes
        copy = self.copy_seconds_per_byte
        if least >= self.eager_limit_bytes and (not copy or least > limit):
            return np.broadcast_to(np.array([rendezvous + self.message_seconds]), size.shape)
        below = size < self.eager_limit_bytes
        latency = np.where(below, eager + self.message_seconds, rendezvous + self.message_seconds)
        copying = np.where(below, self.eager_seconds_per_byte, np.where(size <= limit, copy, 0.0))
        return np.add(latency, size * copying, dtype=np.float64)
