"""Machines, mappings and workloads as they were read before: what has been checked once is not checked again.

An entry is filed under a digest of the document's files, the settings and all of the code, so one that is found is what
would be read now. Whoever reads machines and workloads anew takes a third of a second for it, most of it to load what
checks them.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Words
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from machine_configs import shipped_files
from nnlib.kernels.store import KernelStore
from sim.document_files import document_files, files_digest
from sim.machine.spec import MachineSpec
from sim.named_files import find_file
from taihusim.code import code_digest
from taihusim.workload_source import WorkloadSource
from workloads.mapping import DEFAULT_MAPPING, Mapping
from workloads.shipped import shipped_mappings
from workloads.spec import Workload

SCHEMA: Final = 1
"""Format of the entries."""
UNREADABLE: Final = (
    *(pickle.UnpicklingError, AttributeError, EOFError, ImportError, LookupError),
    *(MemoryError, OverflowError, RecursionError, TypeError, ValueError),
)
"""What is raised for bytes that are no description."""
ROOMS: Final = ("sim", "nnlib", "workloads")
"""Packages whose dataclasses descriptions are made of."""

Described = TypeVar("Described")


def described_machine(name: str, settings: Sequence[str] = (), *, store: KernelStore | None) -> MachineSpec:
    """As :func:`sim.machine.load.load_machine`."""

    def read() -> MachineSpec:
        from sim.machine.load import load_machine

        return load_machine(name, settings)

    return _of_document("machines", name, settings, shipped=shipped_files(), kind=MachineSpec, read=read, store=store)


def described_mapping(name: str, settings: Sequence[str] = (), *, store: KernelStore | None) -> Mapping:
    """As :func:`workloads.mapping_file.load_mapping`."""

    def read() -> Mapping:
        from workloads.mapping_file import load_mapping

        return load_mapping(name, settings)

    shipped = shipped_mappings()
    beside = (shipped[DEFAULT_MAPPING],)
    return _of_document(
        "mappings", name, settings, shipped=shipped, kind=Mapping, read=read, store=store, beside=beside
    )


def described_workload(source: WorkloadSource, *, store: KernelStore | None) -> Workload:
    """As :meth:`WorkloadSource.load`; a model that is in a file of its own, maybe with weights, is not kept."""
    if store is None:
        return source.load()
    which = ("workload", source.digest())
    return _kept(store, which, Workload, source.load, lambda made: "file" not in made.model.keys)


def _of_document(
    noun: str,
    name: str,
    settings: Sequence[str],
    *,
    shipped: Words[str, Path],
    kind: type[Described],
    read: Callable[[], Described],
    store: KernelStore | None,
    beside: Sequence[Path] = (),
) -> Described:
    """What a document says with ``settings``; it depends on the files ``beside`` it, too."""
    if store is None:
        return read()
    files = document_files(find_file(name, shipped=shipped, noun=noun), named=shipped)
    return _kept(store, (noun, name, tuple(settings), files_digest((*files, *beside))), kind, read)


def _kept(
    store: KernelStore,
    which: object,
    kind: type[Described],
    read: Callable[[], Described],
    is_kept: Callable[[Described], bool] = lambda _: True,
) -> Described:
    name = hashlib.sha256(repr((SCHEMA, "description", code_digest(), which)).encode()).hexdigest()
    data = store.read_bytes(name)
    found = None if data is None else unpacked(data)
    if isinstance(found, kind):
        return found
    made = read()
    if is_kept(made):
        store.write_bytes(name, pickle.dumps(made, pickle.HIGHEST_PROTOCOL))
    return made


def unpacked(data: bytes) -> object:
    """What was packed, if it is made of plain values and the project's dataclasses alone; None for anything else.

    A pickle may name any function there is; those of descriptions need none, so nothing else is looked up.
    """
    try:
        return _Reader(io.BytesIO(data)).load()
    except UNREADABLE:
        return None


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name) if module.partition(".")[0] in ROOMS and "." not in name else None
        if not (isinstance(found, type) and is_dataclass(found)):
            raise pickle.UnpicklingError(f"{module}.{name} is no description")
        return found
