"""Timelines as Perfetto reads them: TrackEvent protobuf, written by hand because a few fields are all it takes.

Field numbers are those of Perfetto's public trace format (protos/perfetto/trace): TracePacket, TrackDescriptor,
ProcessDescriptor, ThreadDescriptor and TrackEvent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SLICE_BEGIN, SLICE_END = 1, 2
SEQUENCE = 1
PROCESS_TRACK = 1
FIRST_THREAD_TRACK = 2


@dataclass(frozen=True)
class Slice:
    """What happened on ``track`` from ``start`` to ``end`` (nanoseconds of simulated time)."""

    track: int
    start: int
    end: int
    name: str
    category: str


def encode(slices: Iterable[Slice], *, process: str, tracks: Iterable[str]) -> bytes:
    """A whole trace: one process with a named thread per track; slices of a track must not overlap."""
    return b"".join(_field(1, packet) for packet in _packets(slices, process=process, tracks=tracks))


def _packets(slices: Iterable[Slice], *, process: str, tracks: Iterable[str]) -> Iterator[bytes]:
    yield _descriptor(PROCESS_TRACK, name=process, inner=_field(3, _number(1, 1) + _text(6, process)))
    for number, name in enumerate(tracks):
        thread = _field(4, _number(1, 1) + _number(2, number + 1) + _text(5, name))
        yield _descriptor(FIRST_THREAD_TRACK + number, name=name, inner=thread)
    for each in slices:
        track = _number(11, FIRST_THREAD_TRACK + each.track)
        begin = _number(9, SLICE_BEGIN) + track + _text(22, each.category) + _text(23, each.name)
        yield _event(each.start, begin)
        yield _event(each.end, _number(9, SLICE_END) + track)


def _descriptor(uuid: int, *, name: str, inner: bytes) -> bytes:
    return _number(10, SEQUENCE) + _field(60, _number(1, uuid) + _text(2, name) + inner)


def _event(timestamp: int, event: bytes) -> bytes:
    return _number(8, timestamp) + _number(10, SEQUENCE) + _field(11, event)


def _number(field: int, value: int) -> bytes:
    """A varint field."""
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _field(field, value.encode())


def _field(field: int, content: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
