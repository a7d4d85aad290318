"""How long processes take to read from or write to storage all at once, and which part of it holds them back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sim.machine.site_spec import StorageSpec
from sim.storage.sharing import Readers, finish_seconds
from sim.storage.striping import Striping

Limit: TypeAlias = Literal["process", "arrays", "forwarding", "metadata"]


@dataclass(frozen=True, kw_only=True)
class Access:
    """What each of ``processes`` processes moves: ``size`` bytes, at ``places`` places of the file or files.

    One place: the parts of all processes follow one another in one file. Several: samples picked at random, from a
    striped file or, with ``opens``, from files that each have to be opened first.
    """

    processes: int
    size: float
    striping: Striping
    places: int = 1
    opens: int = 0


@dataclass(frozen=True, kw_only=True)
class AccessTiming:
    """Until the last process is through. ``limits``: the seconds that each part would need without the others.

    ``bytes_per_second`` is what all processes get together; 0 where nothing is moved.
    """

    seconds: float
    bytes_per_second: float
    limits: Mapping[Limit, float]

    @property
    def limit(self) -> Limit:
        """The part that needs longest."""
        return max(self.limits, key=lambda part: self.limits[part])


def access(storage: StorageSpec, request: Access) -> AccessTiming:
    """Time of an access that all processes begin together.

    Bytes that follow one another: to the second, by fair sharing of the arrays. Random places: a bound, the slowest of
    a process alone, the arrays with places spread evenly over them, and the servers of names. The forwarding nodes
    give each process an equal part throughout.
    """
    arrays = min(request.striping.stripes, storage.arrays)
    through = min(request.processes, storage.forwarding_nodes) * storage.forwarding_bytes_per_second
    rate = min(storage.process_bytes_per_second, through / request.processes)
    total = request.processes * request.size
    opening = request.opens * storage.open_seconds
    seeking = request.places * storage.drive_latency_seconds if request.size else 0.0
    scattered = request.processes * seeking / (arrays * storage.drives_per_array) if request.places > 1 else 0.0
    limits: dict[Limit, float] = {
        "process": opening + seeking + request.size / storage.process_bytes_per_second,
        "arrays": max(scattered, total / (arrays * storage.array_bytes_per_second)),
        "forwarding": total / through,
        "metadata": request.processes * opening / storage.metadata_servers,
    }
    seconds = max(limits.values())
    if request.places == 1 and request.size:
        striping = Striping(stripes=arrays, stripe_bytes=request.striping.stripe_bytes)
        reads = striping.shared_reads(processes=request.processes, size=round(request.size))
        reading = finish_seconds(
            [Readers(pieces=pieces, count=count) for pieces, count in reads.items()],
            array_rate=storage.array_bytes_per_second,
            process_rate=rate,
            latency=storage.drive_latency_seconds,
        )
        seconds = max(seconds, opening + max(reading))
    return AccessTiming(seconds=seconds, bytes_per_second=total / seconds if seconds else 0.0, limits=limits)
