"""When transfers end that share disk arrays fairly, from arithmetic alone: no process per reader, no event per byte.

All transfers of an array go equally fast: what an array gives, shared, but no more than one process can take. So an
array needs one clock, the bytes that each of its transfers has had so far, had it been there from the beginning; a
transfer ends when that clock is at its beginning plus its bytes (Parekh and Gallager's virtual time).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from sim.storage.striping import Pieces

Number = Any
"""Seconds, bytes and rates: floats, or fractions where a result has to be exact."""


@dataclass(frozen=True, kw_only=True)
class Readers:
    """``count`` processes that read the same pieces one after the other, each from ``start`` seconds on."""

    pieces: Pieces
    count: int = 1
    start: Number = 0


@dataclass
class _Array:
    """State of one array: its clock of bytes, when that was looked at, and who is served until which byte."""

    served: Number = 0
    looked: Number = 0
    active: int = 0
    version: int = 0
    ends: list[tuple[Number, int]] = field(default_factory=list)


def finish_seconds(
    readers: Sequence[Readers], *, array_rate: Number, process_rate: Number, latency: Number
) -> list[Number]:
    """When each of ``readers`` is through. ``latency`` passes before each piece; rates are in bytes per second."""
    arrays: dict[int, _Array] = {}
    finish: list[Number] = [reader.start for reader in readers]
    place = [0] * len(readers)
    events: list[tuple[Number, int, int, int]] = []  # time, reader or -1, array, version
    for number, reader in enumerate(readers):
        if reader.pieces:
            heappush(events, (reader.start + latency, number, reader.pieces[0][0], 0))
    while events:
        now, number, name, version = heappop(events)
        array = arrays.setdefault(name, _Array())
        if number < 0 and version != array.version:
            continue
        if array.active:
            array.served += (now - array.looked) * min(process_rate, array_rate / array.active)
        array.looked = now
        if number >= 0:
            heappush(array.ends, (array.served + readers[number].pieces[place[number]][1], number))
            array.active += readers[number].count
        else:
            array.served = array.ends[0][0]  # what it is but for rounding
            while array.ends and array.ends[0][0] <= array.served:
                _, done = heappop(array.ends)
                array.active -= readers[done].count
                place[done] += 1
                finish[done] = now
                if place[done] < len(readers[done].pieces):
                    heappush(events, (now + latency, done, readers[done].pieces[place[done]][0], 0))
        array.version += 1
        if array.ends:
            rate = min(process_rate, array_rate / array.active)
            heappush(events, (now + (array.ends[0][0] - array.served) / rate, -1, name, array.version))
    return finish
