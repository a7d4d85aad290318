"""What is stored of results is found again by the same sources only."""

from __future__ import annotations

from pathlib import Path

import sim
from sim.source_digest import source_digest, source_files


def test_files_have_their_modules_names() -> None:
    found = source_files(sim, "chip")
    assert {"sim.chip", "sim.chip.pipeline", "sim.chip.pipeline.gemm"} <= set(found)
    assert list(source_files(sim, "time.py")) == ["sim.time"]
    assert set(found) < set(source_files(sim))


def test_names_and_contents_make_the_digest(tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text("1")
    second.write_text("2")
    digest = source_digest({"a": str(first), "b": str(second)})
    assert source_digest({"b": str(second), "a": str(first)}) == digest
    assert source_digest({"a": str(first), "c": str(second)}) != digest
    second.write_text("3")
    assert source_digest({"a": str(first), "b": str(second)}) != digest
