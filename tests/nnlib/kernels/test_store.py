"""Kernel times on disk: equal to simulated ones, shared by processes, and never in the way."""

from __future__ import annotations

import ast
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from nnlib.kernels import store as module
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.simulation import simulate
from nnlib.kernels.store import KernelStore, key
from sim.chip.memory import PRIVATE, MemoryUse
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec

KERNEL = Gemm(m=128, n=64, k=96, dtype="fp64")
SHARED = MemoryUse(mode="shared", active=4)


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


@pytest.fixture
def store(tmp_path: Path) -> KernelStore:
    return KernelStore(tmp_path / "cache" / "kernels.sqlite")


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("simulated, though the time is stored")


def test_a_stored_time_equals_the_simulated_one(
    processor: ProcessorSpec, store: KernelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = KernelClock(processor, store=store).time(KERNEL)
    assert first == simulate(KERNEL, processor=processor)
    store.close()
    monkeypatch.setattr("nnlib.kernels.simulation.simulate", refuse)
    found = KernelClock(processor, store=KernelStore(store.path)).time(KERNEL)
    assert found == first
    assert found.loops == first.loops


def test_all_that_a_time_depends_on_is_in_the_key(processor: ProcessorSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    faster = replace(processor, clock_hertz=processor.clock_hertz * 2)
    others = [
        key(KERNEL, processor=faster, memory=PRIVATE),
        key(KERNEL, processor=processor, memory=SHARED),
        key(KERNEL, processor=processor, memory=PRIVATE, what="plan"),
        key(replace(KERNEL, dtype="fp32"), processor=processor, memory=PRIVATE),
        key(Elementwise("relu", 1000, "fp64"), processor=processor, memory=PRIVATE),
    ]
    own = key(KERNEL, processor=processor, memory=PRIVATE)
    monkeypatch.setattr(module, "code_digest", lambda: "other code")
    others.append(key(KERNEL, processor=processor, memory=PRIVATE))
    assert len({own, *others}) == 1 + len(others)


def test_all_code_that_a_time_depends_on_is_in_the_digest() -> None:
    files = module.code_files()
    assert {
        "sim.chip.scheduler",
        "sim.chip.pipeline",
        "sim.time",
        "nnlib.kernels.products.gemm",
        "nnlib.ops.reach",
    } <= set(files)
    imported = {
        node.module
        for file in files.values()
        for node in ast.walk(ast.parse(Path(file).read_text()))
        if isinstance(node, ast.ImportFrom) and node.module is not None
    }
    own = {name for name in imported if name.split(".")[0] in ("sim", "nnlib")}
    assert {name for name in own - set(files) if not name.startswith("nnlib.ops.")} == set()


def test_what_is_no_database_is_put_aside(processor: ProcessorSpec, store: KernelStore) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(b"no database at all " * 100)
    timing = KernelClock(processor, store=store).time(KERNEL)
    assert store.path.with_suffix(".damaged").exists()
    store.keep(KERNEL, timing, processor=processor, memory=PRIVATE)
    assert store.timing(KERNEL, processor=processor, memory=PRIVATE) == timing


@pytest.mark.parametrize("text", ["", "{", '{"ticks": 3}', "[1, 2]", '"text"'])
def test_an_entry_that_is_none_counts_as_not_there(processor: ProcessorSpec, store: KernelStore, text: str) -> None:
    store.write(key(KERNEL, processor=processor, memory=PRIVATE), text)
    assert store.timing(KERNEL, processor=processor, memory=PRIVATE) is None
    assert KernelClock(processor, store=store).time(KERNEL) == simulate(KERNEL, processor=processor)


def test_a_damaged_value_counts_as_not_there(store: KernelStore) -> None:
    store.write("name", "text")
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE entries SET value = ?", (b"garbage",))
    connection.close()
    assert store.read("name") is None


def test_a_folder_that_cannot_be_made_is_no_obstacle(processor: ProcessorSpec, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = KernelStore(tmp_path / "file" / "kernels.sqlite")
    assert KernelClock(processor, store=blocked).time(KERNEL) == simulate(KERNEL, processor=processor)
    assert blocked.entries() == 0


def test_the_oldest_entries_go(store: KernelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ENTRIES", 5)
    for number in range(9):
        store.write(f"entry {number}", str(number))
    assert store.entries() == 5
    assert store.read("entry 3") is None
    assert store.read("entry 8") == "8"
    assert store.clear() == 5
    assert store.entries() == 0


def fill(path: Path, worker: int) -> None:
    own = KernelStore(path)
    for number in range(50):
        own.write(f"shared {number}", "the same")
        own.write(f"{worker} {number}", "own")
    own.close()


@pytest.mark.slow
def test_processes_share_one_file(store: KernelStore) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=fill, args=(store.path, worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert store.entries() == 50 + 3 * 50


def test_a_process_killed_while_writing_leaves_a_whole_file(store: KernelStore) -> None:
    code = """
        import sys
        from pathlib import Path
        from nnlib.kernels.store import KernelStore
        store = KernelStore(Path(sys.argv[1]))
        for number in range(10**9):
            store.write(f"entry {number}", f"{number} " * 100)
            if number == 50:
                print("writing", flush=True)
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), str(store.path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert store.entries() > 50
    assert store.read("entry 50") == "50 " * 100
    store.write("after", "the crash")
    assert store.read("after") == "the crash"
