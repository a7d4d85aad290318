"""Times of kernels on disk, shared by processes: what was simulated once is not simulated again.

Times do not depend on data. An entry is filed under a digest of everything that a time depends on: the chip's part of
the machine, how the launch uses memory, the kernel's description (with its plan, library and precision) and the code
that simulates it. So an entry never has to be thrown away because something changed, and one that is found is right.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import nnlib
import sim
from sim.chip.counters import KernelTiming, LoopReport
from sim.source_digest import source_digest, source_files

if TYPE_CHECKING:  # who only reads what is stored need not load what simulates
    from nnlib.kernels.kernel import Kernel
    from sim.chip.memory import MemoryUse
    from sim.machine.spec import ProcessorSpec

SCHEMA: Final = 1
"""Format of the entries. Another format is another file."""
MOST_ENTRIES: Final = 100_000
"""The oldest entries beyond these are dropped; an entry takes about 1 kB."""
CODE: Final = (
    (sim, "chip"),
    (sim, "machine/spec.py"),
    (sim, "machine/network_spec.py"),
    (sim, "machine/roofline_spec.py"),
    (sim, "machine/site_spec.py"),
    (sim, "problems.py"),
    (sim, "source_digest.py"),
    (sim, "time.py"),
    (nnlib, "kernels"),
    (nnlib, "precision"),
    (nnlib, "ops/reach.py"),
    (nnlib, "ops/pool_axis.py"),
    (nnlib, "ops/axis_map.py"),
    (nnlib, "ops/random_bits.py"),
)
"""Files and folders that a kernel's time depends on. What the operations compute, and how a machine is read, is not;
which numbers they take, and how often they do a step, is."""
WAIT_SECONDS: Final = 10.0
"""How long a process waits for another one that is writing."""

Found = TypeVar("Found")


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of the source files that a kernel's time depends on."""
    return source_digest(code_files())


def code_files() -> dict[str, str]:
    """The source files of ``CODE`` by their module's name."""
    return {name: file for package, place in CODE for name, file in source_files(package, place).items()}


@dataclass(eq=False)
class KernelStore:
    """The entries in the SQLite file ``path``. What cannot be read or written counts as not there.

    SQLite's log keeps the file whole when a process dies while writing; a file that is no database is put aside.
    """

    path: Path
    connection: sqlite3.Connection | None = field(default=None, init=False, repr=False)
    process: int = field(default=0, init=False, repr=False)

    def timing(
        self, kernel: Kernel, *, processor: ProcessorSpec, memory: MemoryUse, planned: ProcessorSpec | None = None
    ) -> KernelTiming | None:
        """The stored time of a kernel, or None. ``planned``: the chip that it keeps the plan of, if another one."""
        return self.find(_timing_key(kernel, processor, memory, planned), timing_of)

    def keep(
        self,
        kernel: Kernel,
        timing: KernelTiming,
        *,
        processor: ProcessorSpec,
        memory: MemoryUse,
        planned: ProcessorSpec | None = None,
    ) -> None:
        """Store a kernel's time; its intervals are not kept."""
        self.write(_timing_key(kernel, processor, memory, planned), json.dumps(fields_of(timing)))

    def find(self, name: str, decode: Callable[[Any], Found]) -> Found | None:
        """What ``decode`` makes of the JSON stored under ``name``; None if there is nothing that it understands."""
        text = self.read(name)
        try:
            return None if text is None else decode(json.loads(text))
        except (ValueError, TypeError, KeyError):
            return None

    def read(self, name: str) -> str | None:
        """The text stored under ``name``, or None."""
        try:
            data = self.read_bytes(name)
            return None if data is None else data.decode()
        except UnicodeDecodeError:
            return None

    def read_bytes(self, name: str) -> bytes | None:
        """What is stored under ``name``, or None."""

        def find(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT value FROM entries WHERE name = ?", (name,)).fetchone()
            return None if row is None else bytes(row[0])

        packed = self._with_connection(find)
        if packed is None:
            return None
        try:
            return zlib.decompress(packed)
        except zlib.error:
            return None

    def write(self, name: str, text: str) -> None:
        """Store ``text`` under ``name``; what is there already stays."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, data: bytes) -> None:
        """Store ``data`` under ``name``; what is there already stays."""
        packed = zlib.compress(data, 1)

        def add(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("INSERT OR IGNORE INTO entries VALUES (?, ?)", (name, packed))
                last = connection.execute("SELECT max(rowid) FROM entries").fetchone()[0]
                connection.execute("DELETE FROM entries WHERE rowid <= ?", (last - MOST_ENTRIES,))

        self._with_connection(add)

    def clear(self) -> int:
        """Drop all entries; returns how many there were."""

        def drop(connection: sqlite3.Connection) -> int:
            with connection:
                return connection.execute("DELETE FROM entries").rowcount

        return self._with_connection(drop) or 0

    def entries(self) -> int:
        """How many entries there are."""
        return self._with_connection(lambda each: int(each.execute("SELECT count(*) FROM entries").fetchone()[0])) or 0

    def _with_connection(self, act: Callable[[sqlite3.Connection], Found]) -> Found | None:
        try:
            return act(self._connected())
        except sqlite3.DatabaseError as error:
            self.close()
            if type(error) is sqlite3.DatabaseError:  # no database, or damaged: its subclasses are other troubles
                with suppress(OSError):
                    self.path.replace(self.path.with_suffix(".damaged"))
        except OSError:
            self.close()
        return None

    def _connected(self) -> sqlite3.Connection:
        """This process's connection, the file made with its table if missing. Raises OSError, sqlite3.DatabaseError."""
        if self.connection is not None and self.process == os.getpid():
            return self.connection
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.connection, self.process = sqlite3.connect(self.path, timeout=WAIT_SECONDS), os.getpid()
        # a write-ahead log is whole after a crash without waiting for the disk at each entry
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute("CREATE TABLE IF NOT EXISTS entries (name TEXT PRIMARY KEY, value BLOB NOT NULL)")
        return self.connection

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self.connection is not None and self.process == os.getpid():
            self.connection.close()
        self.connection = None


def key(kernel: object, *, processor: ProcessorSpec, memory: MemoryUse, what: str = "timing") -> str:
    """The name of an entry about ``kernel``, a description that says all in its ``repr``."""
    parts = (SCHEMA, what, code_digest(), _text(processor), _text(memory), f"{type(kernel).__module__}.{kernel!r}")
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


@lru_cache(maxsize=16)
def _text(description: object) -> str:
    """What a frozen description says of itself; that of a chip is long and asked for with every kernel."""
    return str(description)


def _timing_key(kernel: object, processor: ProcessorSpec, memory: MemoryUse, planned: ProcessorSpec | None) -> str:
    what = "timing" if planned is None or planned == processor else f"timing, plans of {planned}"
    return key(kernel, processor=processor, memory=memory, what=what)


def fields_of(timing: KernelTiming) -> dict[str, Any]:
    """A kernel's time as plain values, without its intervals."""
    return {name: value for name, value in asdict(timing).items() if name != "intervals"}


def timing_of(fields: Any) -> KernelTiming:
    """The kernel's time of :func:`fields_of`. Raises TypeError or KeyError for other values."""
    return KernelTiming(
        **{
            **fields,
            "finish": tuple(fields["finish"]),
            "reasons": {reason: tuple(values) for reason, values in fields["reasons"].items()},
            "loops": tuple(LoopReport(**each) for each in fields["loops"]),
        }
    )
