"""Ctrl-C and the signal that batch systems send: work ends at the next safe place, a second signal ends it at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requested(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Yields a function that is true once SIGINT or SIGTERM has come; the first one is answered through ``say``.

    The second one raises KeyboardInterrupt wherever the program is. Only in the main thread.
    """
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        say("Stopping after this step; once more stops at once.")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, old in before.items():
            signal.signal(number, old)
