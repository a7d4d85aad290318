"""The trace's bytes, read back field by field."""

from __future__ import annotations

from collections.abc import Iterator

from sim.trace.perfetto import Slice, encode


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and content of each field of a protobuf message."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            assert key & 7 == 2
            length = varint()
            yield key >> 3, data[at : at + length]
            at += length
    assert at == len(data)


def message(data: int | bytes) -> dict[int, int | bytes]:
    assert isinstance(data, bytes)
    found = dict(fields(data))
    assert len(found) == len(list(fields(data)))
    return found


def test_tracks_and_slices() -> None:
    slices = [Slice(0, 5, 1_000_000, "gemm", "compute"), Slice(1, 300, 300, "get a", "dma_wait")]
    trace = encode(slices, process="conv", tracks=["CPE 0", "CPE 1"])
    packets = [message(content) for _, content in fields(trace)]
    assert all(packet[10] == 1 for packet in packets)
    process, *threads = [message(packet[60]) for packet in packets if 60 in packet]
    assert (process[1], process[2], message(process[3])) == (1, b"conv", {1: 1, 6: b"conv"})
    assert [message(thread[4])[5] for thread in threads] == [b"CPE 0", b"CPE 1"]
    assert [thread[1] for thread in threads] == [2, 3]
    events = [(packet[8], message(packet[11])) for packet in packets if 11 in packet]
    assert events == [
        (5, {9: 1, 11: 2, 22: b"compute", 23: b"gemm"}),
        (1_000_000, {9: 2, 11: 2}),
        (300, {9: 1, 11: 3, 22: b"dma_wait", 23: b"get a"}),
        (300, {9: 2, 11: 3}),
    ]
