"""Host time of a batch's reads from storage by all processes of the machine, beside a SimPy process for each reader.

131,072 processes that share disk arrays, exactly, and 163,840, bounded, may take 0.1 s each; SimPy does 256 of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from measure import side_by_side, verdict

from machine_configs import DEFAULT_MACHINE
from sim.machine.load import load_machine
from sim.storage import reference
from sim.storage.access import Access, AccessTiming, access
from sim.storage.sharing import Number, Readers
from sim.storage.striping import Striping

PROCESSES = 163_840
EXACT = 131_072
SMALL = 256
SIZE = 48_000_000
STRIPES = Striping(stripes=32, stripe_bytes=256_000_000)
ROUNDS = 3
SECONDS_LIMIT = 0.1


def arithmetic(processes: int) -> Callable[[], AccessTiming]:
    """A quarter of swCaffe's largest batch for each process, the processes spread over the stripes."""
    storage = load_machine(DEFAULT_MACHINE).storage
    return lambda: access(storage, Access(processes=processes, size=SIZE, striping=STRIPES, apart=True))


def processes(count: int) -> Callable[[], list[list[Number]]]:
    """The same with a process for each reader, which shares its array whenever another begins or ends."""
    storage = load_machine(DEFAULT_MACHINE).storage
    each = count // STRIPES.stripes
    starts = [number * STRIPES.stripe_bytes // each for number in range(each)]
    offsets = [array * STRIPES.stripe_bytes + start for array in range(STRIPES.stripes) for start in starts]
    readers = [Readers(pieces=STRIPES.pieces(offset, SIZE)) for offset in offsets]
    through = min(count, storage.forwarding_nodes) * storage.forwarding_bytes_per_second
    return lambda: reference.finish_seconds(
        readers,
        array_rate=storage.array_bytes_per_second,
        process_rate=min(storage.process_bytes_per_second, through / count),
        latency=storage.drive_latency_seconds,
    )


def main() -> int:
    whole, exact = f"{PROCESSES:,} processes, bounded", f"{EXACT:,} processes"
    small, slow = f"{SMALL:,} processes", f"{SMALL:,} processes, SimPy"
    seconds = side_by_side(
        {
            whole: arithmetic(PROCESSES),
            exact: arithmetic(EXACT),
            small: arithmetic(SMALL),
            slow: processes(SMALL),
        },
        rounds=ROUNDS,
    )
    print("host time of the reads of one batch by all processes:")
    for name, value in seconds.items():
        print(f"  {name:<52}{1e3 * value:9.1f} ms")
    last = max(end for ends in processes(SMALL)() for end in ends)
    print(f"simulated: {arithmetic(SMALL)().seconds:.6f} s by arithmetic, {last:.6f} s by SimPy")
    print(f"SimPy takes {seconds[slow] / seconds[small]:,.0f} times as long for {SMALL:,} processes")
    assert not arithmetic(EXACT)().bounded
    held = [verdict(name, seconds[name], SECONDS_LIMIT, " s") for name in (whole, exact)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
