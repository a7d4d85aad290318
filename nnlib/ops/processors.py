"""The processors of the host."""

from __future__ import annotations

import os


def allowed_processors() -> int:
    """How many this process may use; all there are where the system does not tell which."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
