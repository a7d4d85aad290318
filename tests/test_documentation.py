"""What the documentation says is done here: its commands run, its code and YAML work, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
import yaml

from machine_configs import DEFAULT_MACHINE
from sim.machine.load import read_machine
from taihusim.cli import main
from tests.nnlib.importers.graphs import model, node, saved
from tests.taihusim.command import taihusim
from workloads.checkpoint import save_weights
from workloads.load import load_workload
from workloads.mapping_file import load_mapping

ROOT = Path(__file__).parents[1]
MANUAL = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *MANUAL]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
EXAMPLE = re.compile(r"^\s*(?:Example: )?(taihusim .+)$", re.MULTILINE)
FEW_STEPS = ["--set", "workload.recipe.max_steps=2"]
ONE_TABLE = ["--table", "dma_block_size"]
SHORT_RUN = ["train", "digits", "--nodes", "1,16", *FEW_STEPS]
MY_MACHINE = "my_machine.yaml"
SECONDS_LIMIT = 300


@dataclass(frozen=True)
class Block:
    """A block of a page between fences, and the line on which it begins."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(*pages: Path) -> Iterator[Block]:
    """All fenced blocks of the pages."""
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(page=page, line=line, language=found[1], text=found[2])


def commands_in_pages() -> Iterator[str]:
    """Lines of plain blocks that begin with ``taihusim``, without their comments."""
    for block in blocks(*PAGES):
        if block.language in ("", "sh", "bash", "console"):
            for line in block.text.splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words[:1] == ["taihusim"]:
                    yield shlex.join(words)


def subcommands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it, with their names."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from subcommands(child, (*path, name))


def examples_in_help() -> Iterator[str]:
    """The examples that the commands' help ends with."""
    for _, command in subcommands(main):
        yield from EXAMPLE.findall(command.help or "")


PAGE_COMMANDS = list(dict.fromkeys(commands_in_pages()))
HELP_COMMANDS = list(dict.fromkeys(examples_in_help()))
MACHINE_KEYS = {"processor", "network", "storage", "power", "faults"}
WORKLOAD_KEYS = {"model", "data", "recipe"}


def environment(home: Path) -> dict[str, str]:
    """Variables for a command that runs as from a shell in an empty folder."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "MPLCONFIGDIR": str(home), "OMP_NUM_THREADS": "1"}


def run(*arguments: str, folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """This Python with ``arguments`` in ``folder``."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=SECONDS_LIMIT,
        check=False,
    )


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where matplotlib keeps what it finds out once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the machine file that examples check, which is the one the manual shows."""
    variants = [block.text for block in yaml_blocks() if "extends" in yaml.safe_load(block.text)]
    (tmp_path / MY_MACHINE).write_text(next(text for text in variants if "processor" in text), encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make demo`` leaves, of a shorter training."""
    place = tmp_path_factory.mktemp("demo") / "demo"
    made = taihusim(*SHORT_RUN, "--out", str(place))
    assert made.returncode == 0, made.stderr
    return place


def prepare_files(command: list[str], *, folder: Path, request: pytest.FixtureRequest) -> None:
    """The files that a command reads and that an earlier example writes."""
    if "--weights" in command:
        weights = folder / command[command.index("--weights") + 1]
        if command[1] == "climate":
            network = load_workload("storms").model.built
            save_weights(network.initialise(np.random.default_rng(0), np.dtype(np.float32)), weights)
        else:
            shutil.copytree(request.getfixturevalue("demo"), weights.parent)
        assert weights.is_file()
    if "model.onnx" in command:
        write_model(folder, width="width" if "--shape" in command else 8)


def write_model(folder: Path, *, width: int | str) -> None:
    """``model.onnx``, a small network over images (1, 8, 8), and ``x.npy`` with two of them."""
    nodes = [node("Conv", "x w", "c"), node("GlobalMaxPool", "c", "p"), node("Flatten", "p")]
    saved(folder, model(nodes, {"x": ("samples", 1, 8, width)}, {"w": np.ones((10, 1, 3, 3), dtype=np.float32)}))
    np.save(folder / "x.npy", np.zeros((2, 1, 8, 8), dtype=np.float32))


def is_training(command: str) -> bool:
    return shlex.split(command)[1] == "train"


def is_long(command: str) -> bool:
    """Whether the command trains, or times many kernels."""
    return (
        shlex.split(command)[1] in ("train", "infer", "predict", "serve", "compare")
        or any(each in command for each in ("conv_optimisation_ladder", "dma_grid"))
        or ("kernel conv2d" in command and "--library" in command)
    )


def shortening(command: str) -> list[str]:
    """Further arguments that make a command short: few steps of a training, one table instead of all."""
    if is_training(command):
        return FEW_STEPS
    return ONE_TABLE if shlex.split(command)[1] == "validate" and "--table" not in command else []


def each_command(commands: list[str]) -> pytest.MarkDecorator:
    values = [pytest.param(each, marks=marks(each)) for each in commands]
    return pytest.mark.parametrize("command", values)


def marks(command: str) -> list[pytest.MarkDecorator]:
    """Long comparisons with measurements run in ``make validate``."""
    compares = [pytest.mark.validation] if "conv_optimisation_ladder" in command else []
    return [*compares, *([pytest.mark.slow] if is_long(command) else [])]


def yaml_blocks() -> list[Block]:
    return [block for block in blocks(*PAGES) if block.language == "yaml"]


def make_targets(page: Path) -> set[str]:
    """What a page tells to make, in its text or in its blocks."""
    text = page.read_text(encoding="utf-8")
    code = [*re.findall(r"`([^`\n]+)`", FENCE.sub("", text)), *(block.text for block in blocks(page))]
    return {target for part in code for target in re.findall(r"^make ([a-z][a-z-]*)", part, re.MULTILINE)}


def test_there_is_something_to_check() -> None:
    assert len(PAGE_COMMANDS) >= 8
    assert len(HELP_COMMANDS) >= len([1 for _, command in subcommands(main)]) - 1
    assert any(map(is_training, PAGE_COMMANDS))
    assert any(map(is_training, HELP_COMMANDS))
    assert yaml_blocks()
    assert "demo" in make_targets(ROOT / "README.md")
    assert "test-fast" in make_targets(ROOT / "CONTRIBUTING.md")
    assert {"kernel", "pipeline", "cache", "validate"} <= {shlex.split(each)[1] for each in PAGE_COMMANDS}


@each_command(list(dict.fromkeys([*PAGE_COMMANDS, *HELP_COMMANDS])))
def test_a_command_runs_as_written(command: str, folder: Path, request: pytest.FixtureRequest) -> None:
    words = shlex.split(command)[1:]
    prepare_files(words, folder=folder, request=request)
    with chdir(folder):
        done = taihusim(*words, *shortening(command))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    if "--json" in words:
        assert json.loads(done.stdout)
    if "--out" in words:
        assert list((folder / words[words.index("--out") + 1]).iterdir())


@pytest.mark.parametrize("path", [path for path, _ in subcommands(main)], ids=" ".join)
def test_help_shows_each_example_on_a_line_of_its_own(path: tuple[str, ...]) -> None:
    command = dict(subcommands(main))[path]
    context = None
    for depth in range(len(path) + 1):
        settings = main.context_settings if depth == 0 else {}
        name = path[depth - 1] if depth else "taihusim"
        context = click.Context(dict(subcommands(main))[path[:depth]], parent=context, info_name=name, **settings)
    assert context is not None
    shown = EXAMPLE.findall(command.get_help(context))
    assert shown == EXAMPLE.findall(command.help or "")
    assert shown, "a command's help has an example"


@pytest.mark.slow
@pytest.mark.parametrize("block", [each for each in blocks(*PAGES) if each.language == "python"], ids=str)
def test_python_code_runs(block: Block, folder: Path, demo: Path, home: Path) -> None:
    shutil.copytree(demo, folder / "runs" / "demo")
    done = run("-W", "error", "-c", block.text, folder=folder, home=home)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("block", yaml_blocks(), ids=str)
def test_yaml_loads(block: Block, tmp_path: Path) -> None:
    """A whole file as it is; a part of one as a change to what comes with taihusim."""
    content = yaml.safe_load(block.text)
    path = tmp_path / "shown.yaml"
    whole = "extends" in content
    if content.keys() & MACHINE_KEYS:
        path.write_text(block.text if whole else f"extends: {DEFAULT_MACHINE}\n{block.text}", encoding="utf-8")
        assert read_machine(str(path)).parameters
    elif content.keys() & WORKLOAD_KEYS:
        whole = whole or content.keys() >= WORKLOAD_KEYS
        path.write_text(block.text if whole else f"extends: digits\n{block.text}", encoding="utf-8")
        write_model(tmp_path, width=8)
        model = load_workload(str(path)).model
        assert model.keys.get("file", ".onnx").endswith(".onnx")
        assert model.built.graph.parameter_count
    else:
        path.write_text(block.text, encoding="utf-8")
        assert load_mapping(str(path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [link for link in LINK.findall(text) if not re.match(r"\w+:", link)]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = sorted(make_targets(page))
    assert [target for target in targets if not re.search(rf"^{target}:", rules, re.MULTILINE)] == []


def test_all_comparisons_with_pytorch_stand_in_the_folder_that_make_leaves_out() -> None:
    folder, mark = ROOT / "tests" / "nnlib" / "parity", "pytest." + "mark.parity"
    marked = {path for path in (ROOT / "tests").rglob("test_*.py") if mark in path.read_text(encoding="utf-8")}
    assert marked == set(folder.glob("test_*.py"))
    assert f"--ignore={folder.relative_to(ROOT)}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
