"""How long processes take to read from or write to storage all at once, and which part of it holds them back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sim.machine.site_spec import StorageSpec
from sim.storage.sharing import Readers, finish_seconds
from sim.storage.striping import Striping

Limit: TypeAlias = Literal["process", "arrays", "forwarding", "metadata"]
MOST_PIECES: Final = 10_000
"""Up to here an exact time takes less than a tenth of a second to find."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """What each of ``processes`` processes moves: ``size`` bytes, at ``places`` places of the file or files.

    One place: the parts of all processes follow one another in one file, or, ``apart``, each process is somewhere else
    in it, all evenly spread over the stripes. Several places: samples picked at random, from a striped file or, with
    ``opens``, from files that each have to be opened first.
    """

    processes: int
    size: float
    striping: Striping
    apart: bool = False
    places: int = 1
    opens: int = 0


@dataclass(frozen=True, kw_only=True)
class AccessTiming:
    """Until the last process is through. ``limits``: the seconds that each part would need without the others.

    ``bytes_per_second`` is what all processes get together; 0 where nothing is moved. ``bounded``: the time is that of
    the slowest part alone; otherwise it is exact.
    """

    seconds: float
    bytes_per_second: float
    limits: Mapping[Limit, float]
    bounded: bool

    @property
    def limit(self) -> Limit:
        """The part that needs longest."""
        return max(self.limits, key=lambda part: self.limits[part])


def access(storage: StorageSpec, request: Access) -> AccessTiming:
    """Time of an access that all processes begin together.

    At one place each: exactly, by fair sharing of the arrays, if there are at most MOST_PIECES different pieces; the
    forwarding nodes give each process an equal part throughout. Processes apart that do not divide by the arrays are
    taken to be as many on all as on the array with most. Otherwise, and for random places, a bound: the slowest of a
    process alone, the array with most bytes or the drives, the forwarding nodes, and the servers of names.
    """
    arrays = min(request.striping.stripes, storage.arrays)
    striping = Striping(stripes=arrays, stripe_bytes=request.striping.stripe_bytes)
    through = min(request.processes, storage.forwarding_nodes) * storage.forwarding_bytes_per_second
    total = request.processes * request.size
    opening = request.opens * storage.open_seconds
    size = round(request.size)
    scattered = request.places > 1
    stops = request.places if scattered else max(1, size // striping.stripe_bytes)
    seeking = stops * storage.drive_latency_seconds if size else 0.0
    drives = request.processes * seeking / (arrays * storage.drives_per_array) if scattered else 0.0
    first = storage.drive_latency_seconds if size else 0.0
    begins = -(-request.processes // arrays)
    if scattered:
        busiest = total / arrays
    else:
        busiest = begins * request.size if request.apart else striping.busiest_bytes(round(total))
    limits: dict[Limit, float] = {
        "process": opening + seeking + request.size / storage.process_bytes_per_second,
        "arrays": max(drives, first + busiest / storage.array_bytes_per_second),
        "forwarding": total / through,
        "metadata": request.processes * opening / storage.metadata_servers,
    }
    seconds = max(limits.values())
    different = begins if request.apart else min(striping.period(size), request.processes)
    pieces = different * (size // striping.stripe_bytes + 2)
    bounded = bool(size) and (scattered or pieces > MOST_PIECES)
    if size and not bounded:
        found = striping.apart_reads if request.apart else striping.shared_reads
        reads = found(processes=request.processes, size=size)
        reading = finish_seconds(
            [Readers(pieces=each, count=count) for each, count in reads.items()],
            array_rate=storage.array_bytes_per_second,
            process_rate=min(storage.process_bytes_per_second, through / request.processes),
            latency=storage.drive_latency_seconds,
        )
        seconds = max(seconds, opening + max(reading))
    return AccessTiming(
        seconds=seconds, bytes_per_second=total / seconds if seconds else 0.0, limits=limits, bounded=bounded
    )
