"""Every lesson runs from its first cell to its last, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
SECONDS_PER_CELL = 600
KERNEL = "python3"

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for Jupyter in which the only kernel is this Python; returns the folder to run in."""
    home = tmp_path / "jupyter"
    kernel = home / "kernels" / KERNEL
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    specification = {"argv": command, "display_name": "Python", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(specification), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(home))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    for variable, name in (
        ("JUPYTER_RUNTIME_DIR", "runtime"),
        ("JUPYTER_CONFIG_DIR", "config"),
        ("IPYTHONDIR", "ipython"),
        ("MPLCONFIGDIR", "matplotlib"),
    ):
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # tests share the cores: BLAS threads that wait for each other take ages
    place = tmp_path / "lesson"
    place.mkdir()
    return place


def test_there_are_lessons() -> None:
    assert NOTEBOOKS


@every_notebook
def test_a_lesson_is_a_notebook_that_explains_itself(path: Path) -> None:
    notebook = jupytext.read(path)
    nbformat.validate(notebook)
    assert notebook.metadata["kernelspec"]["name"] == KERNEL
    assert notebook.metadata["jupytext"]["text_representation"]["format_name"] == "percent"
    assert notebook.cells[0].cell_type == notebook.cells[-1].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    assert 8 <= len(notebook.cells) <= 14
    assert all(cell.source.strip() for cell in notebook.cells)


@pytest.mark.slow
@every_notebook
def test_a_lesson_runs(path: Path, jupyter: Path) -> None:
    before = set(files_of_the_repository())
    notebook = jupytext.read(path)
    client = NotebookClient(
        notebook, timeout=SECONDS_PER_CELL, kernel_name=KERNEL, resources={"metadata": {"path": str(jupyter)}}
    )
    client.execute()  # a cell that fails raises CellExecutionError with its traceback
    assert set(files_of_the_repository()) - before == set()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    complaints = [
        output.text
        for cell in code
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]
    assert complaints == []


def files_of_the_repository() -> Iterator[Path]:
    """All files but hidden ones and Python's caches."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        yield from (Path(folder, name) for name in files)
