"""What a collective has moved so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Totals:
    """Steps, messages, bytes, and the seconds of each step's slowest message."""

    steps: int = 0
    messages: int = 0
    bytes: int = 0
    latency_seconds: float = 0.0
    transfer_seconds: float = 0.0
    reduce_seconds: float = 0.0
