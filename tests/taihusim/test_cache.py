"""Where kernel times are kept, and the command that shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from taihusim.cache import cache_path, default_store
from taihusim.cli import main


def test_the_folder_can_be_named_or_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAIHUSIM_CACHE", str(tmp_path))
    assert cache_path() == tmp_path / "kernels.sqlite"
    monkeypatch.setenv("TAIHUSIM_CACHE", "off")
    assert cache_path() is None
    assert default_store() is None
    monkeypatch.delenv("TAIHUSIM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_path() == tmp_path / "xdg" / "taihusim" / "kernels.sqlite"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_path() == Path.home() / ".cache" / "taihusim" / "kernels.sqlite"


def test_the_command_counts_and_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAIHUSIM_CACHE", str(tmp_path))
    store = default_store()
    assert store is not None
    store.write("a", "1")
    store.write("b", "2")
    store.close()
    shown = CliRunner().invoke(main, ["cache"])
    assert "kernels.sqlite" in shown.output
    found = json.loads(CliRunner().invoke(main, ["cache", "--clear", "--json"]).output)
    assert (found["dropped"], found["entries"]) == (2, 0)
    assert CliRunner().invoke(main, ["cache", "--clear"]).output.endswith("dropped 0\n")
