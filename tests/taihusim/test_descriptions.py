"""Descriptions on disk: equal to those read anew, never older than their files, and made of nothing that runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from nnlib.kernels.store import KernelStore
from sim.document_files import document_files, may_have_key
from sim.machine.load import list_machines, load_machine
from sim.problems import BadInput
from taihusim.descriptions import described_machine, described_mapping, described_workload, unpacked
from taihusim.workload_source import WorkloadSource
from tests.nnlib.importers.graphs import model, node, saved
from workloads.load import describe, list_workloads, load_workload
from workloads.mapping_file import list_mappings, load_mapping
from workloads.shipped import shipped_workloads

READERS = ("sim.machine.load.load_machine", "workloads.mapping_file.load_mapping", "workloads.load.load_workload")


@pytest.fixture
def store(tmp_path: Path) -> KernelStore:
    return KernelStore(tmp_path / "cache" / "kernels.sqlite")


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("read anew, though the description is stored")


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    for reader in READERS:
        monkeypatch.setattr(reader, refuse)


def test_every_machine_is_kept_as_it_is_read(store: KernelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read = {name: load_machine(name) for name in list_machines()}
    first = {name: described_machine(name, store=store) for name in read}
    forbid_reading(monkeypatch)
    again = {name: described_machine(name, store=store) for name in read}
    assert first == again == read
    assert {name: repr(machine) for name, machine in again.items()} == {name: repr(read[name]) for name in read}


def test_every_mapping_is_kept_as_it_is_read(store: KernelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read = {name: load_mapping(name) for name in list_mappings()}
    assert {name: described_mapping(name, store=store) for name in read} == read
    forbid_reading(monkeypatch)
    assert {name: described_mapping(name, store=store) for name in read} == read


def test_every_workload_is_kept_as_it_is_read(store: KernelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read = {name: load_workload(name) for name in list_workloads()}
    sources = {name: WorkloadSource(name=name) for name in read}
    for source in sources.values():
        described_workload(source, store=store)
    forbid_reading(monkeypatch)
    for name, source in sources.items():
        again = described_workload(source, store=store)
        assert again == read[name]
        assert (repr(again), describe(again)) == (repr(read[name]), describe(read[name]))


def test_settings_and_names_are_part_of_what_is_kept(store: KernelStore) -> None:
    plain = described_machine("sunway_taihulight", store=store)
    larger = described_machine("sunway_taihulight", ["processor.cpe.ldm=128KiB"], store=store)
    assert (plain.processor.cpe.ldm_bytes, larger.processor.cpe.ldm_bytes) == (64 * 1024, 128 * 1024)
    assert described_mapping("default", ["batch_per_node=7"], store=store).batch_per_node == 7
    assert described_mapping("default", store=store).batch_per_node is None
    adam = described_workload(WorkloadSource(name="digits", optimizer="adam"), store=store)
    assert adam.recipe.optimizer != described_workload(WorkloadSource(name="digits"), store=store).recipe.optimizer


def test_a_changed_file_or_one_that_it_extends_is_read_anew(store: KernelStore, tmp_path: Path) -> None:
    base, own = tmp_path / "base.yaml", tmp_path / "own.yaml"
    base.write_text("extends: digits\ntitle: first\n")
    own.write_text("extends: base.yaml\n")
    source = WorkloadSource(name=str(own))
    assert described_workload(source, store=store).title == "first"
    base.write_text("extends: digits\ntitle: second\n")
    assert described_workload(source, store=store).title == "second"
    own.write_text("extends: base.yaml\ntitle: third\n")
    assert described_workload(source, store=store).title == "third"


def test_a_data_folder_beside_the_file_is_the_one_of_this_working_folder(
    store: KernelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.yaml").write_text("extends: digits\ndata: {dataset: archive, path: some.npz}\n")
    monkeypatch.chdir(tmp_path)
    near = described_workload(WorkloadSource(name="own.yaml"), store=store)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    far = described_workload(WorkloadSource(name=os.path.join("..", "own.yaml")), store=store)
    assert near.data is not None
    assert far.data is not None
    assert (near.data.path, far.data.path) == ("some.npz", os.path.join("..", "some.npz"))


def test_bad_input_is_said_each_time(store: KernelStore) -> None:
    for _ in range(2):
        with pytest.raises(BadInput, match="sunway_taihulight"):
            described_machine("sunway_taihuligth", store=store)
        with pytest.raises(BadInput, match="ldm"):
            described_machine("sunway_taihulight", ["processor.cpe.lmd=1"], store=store)
        with pytest.raises(BadInput, match="resnet50"):
            described_workload(WorkloadSource(name="resnet5"), store=store)
    assert store.entries() == 0


def test_without_a_store_all_is_read() -> None:
    assert described_machine("sunway_taihulight", store=None) == load_machine("sunway_taihulight")
    assert described_mapping("default", store=None) == load_mapping("default")
    assert described_workload(WorkloadSource(name="digits"), store=None) == load_workload("digits")


def test_a_damaged_entry_is_read_anew(store: KernelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"", b"no pickle", pickle.dumps(3), pickle.dumps(load_mapping("default"))[:-5]):
        monkeypatch.setattr(store, "read_bytes", lambda _, data=data: data)
        assert described_mapping("default", store=store) == load_mapping("default")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python's own, of damaged buffers
def test_damage_is_no_error() -> None:
    whole, rng = pickle.dumps(load_machine("sunway_taihulight")), np.random.default_rng(3)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(3):
            data[rng.integers(len(data))] = rng.integers(256)
        unpacked(bytes(data))
        unpacked(bytes(data[: rng.integers(len(data))]))


class Calls:
    """Unpickled, it calls a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.called = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.called


@pytest.mark.parametrize(
    "harmful",
    [
        Calls(os.mkdir, "made"),
        Calls(eval, "__import__('os').mkdir('made')"),
        Calls(shipped_workloads),
        [load_mapping("default"), Calls(os.mkdir, "made")],
    ],
    ids=["os", "eval", "own function", "inside"],
)
def test_an_entry_that_would_run_something_is_none(
    harmful: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert unpacked(pickle.dumps(harmful)) is None
    assert not (tmp_path / "made").exists()
    assert unpacked(pickle.dumps(load_mapping("default"))) == load_mapping("default")


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("extends: digits\n", True),
        ("'extends' : digits\n", True),
        ('"extends": digits\n', True),
        ("{title: a, extends: digits}\n", True),
        ("? extends\n: digits\n", True),
        ('"\\x65xtends": digits\n', True),
        ("# what extends it\ntitle: a shift that extends the sign\n", False),
        ("title: a\n", False),
    ],
)
def test_whether_a_key_may_be_there_is_seen_without_reading_yaml(text: str, there: bool, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    assert may_have_key(path, "extends") == there
    shipped = shipped_workloads()
    found = document_files(path, named=shipped)
    assert found == ((path, shipped["digits"]) if there else (path,))


def test_a_file_that_is_not_there_has_no_keys(tmp_path: Path) -> None:
    assert not may_have_key(tmp_path / "none.yaml", "extends")
    assert document_files(tmp_path / "none.yaml", named={}) == (tmp_path / "none.yaml",)


@pytest.mark.parametrize(
    "settings",
    [
        ["model={{file: {}}}"],
        ["model={{file: none.onnx}}", "model.file={}"],
        ["model={{file: none.onnx}}", " model.file = '{}'"],
    ],
    ids=["section", "key", "quoted"],
)
def test_a_model_in_a_file_is_read_each_time(settings: list[str], store: KernelStore, tmp_path: Path) -> None:
    pytest.importorskip("onnx")

    def write(value: float) -> None:
        weights = {"w": np.full((10, 1, 3, 3), value, dtype=np.float32)}
        nodes = [node("Conv", "x w", "c"), node("GlobalMaxPool", "c", "p"), node("Flatten", "p")]
        saved(tmp_path, model(nodes, {"x": ("samples", 1, 8, 8)}, weights))

    source = WorkloadSource(name="digits", settings=tuple(each.format(tmp_path / "model.onnx") for each in settings))
    digests = []
    for value in (1.0, 2.0):
        write(value)
        digests.append(source.digest())
        weights = described_workload(source, store=store).model.built.weights
        assert weights is not None
        assert {float(array.max()) for array in weights.values() if array.ndim == 4} == {value}
    assert digests[0] != digests[1]
    assert store.entries() == 0
