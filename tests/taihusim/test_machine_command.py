"""The real command line: ``taihusim machine`` and what every command shares (exit codes, JSON, settings)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.taihusim.command import ROOT, in_own_process, json_of, taihusim


def test_help_lists_commands_and_gives_an_example() -> None:
    for arguments in ([], ["machine"], *(["machine", name] for name in ("list", "show", "check", "diff"))):
        done = taihusim(*arguments, "--help")
        assert done.returncode == 0
        assert "Example" in done.stdout
    assert {"machine", "train", "infer"} <= set(taihusim("--help").stdout.split())


def test_help_imports_nothing_heavy() -> None:
    program = "import sys, taihusim.cli; print([m for m in ('numpy', 'rich', 'pydantic', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_list() -> None:
    done = in_own_process("machine", "list")
    assert "10,649,600" in done.stdout
    assert (done.returncode, done.stderr, done.stdout) == (0, "", taihusim("machine", "list").stdout)
    assert "sunway_taihulight" in [row["machine"] for row in json_of("machine", "list")["machines"]]


def test_show_prints_peaks_before_parameters() -> None:
    done = taihusim("machine", "show", "sunway_taihulight")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    peak = next(n for n, line in enumerate(lines) if "125.4 PFLOPS" in line)
    ldm = next(n for n, line in enumerate(lines) if line.startswith("processor.cpe.ldm"))
    assert peak < ldm
    assert lines[ldm].split() == ["processor.cpe.ldm", "64", "KiB", "SWDNN17;", "TACO18;", "THESIS"]


def test_show_as_json_with_a_setting() -> None:
    shown = json_of("machine", "show", "--set", "machine.processor.cpe.ldm=128KiB")
    assert (shown["cores"], shown["core_group_cpe_peak_gflops"]) == (10_649_600, pytest.approx(742.4))
    ldm = next(each for each in shown["parameters"] if each["key"] == "processor.cpe.ldm")
    assert (ldm["value"], ldm["unit"], ldm["source"]) == (131072, "B", "set on the command line")


def test_check(tmp_path: Path) -> None:
    assert taihusim("machine", "check", "taihulight_ldm128k").stdout == "taihulight_ldm128k: OK\n"
    file = tmp_path / "mine.yaml"
    file.write_text("extends: sunway_taihulight\nprocessor:\n  clok: 1 GHz\n  clock: 1\n")
    done = taihusim("machine", "check", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'processor.clock'?" in done.stderr
    assert f"{file}: 2 problems" in done.stderr
    report = json_of("machine", "check", str(file))
    assert (report["ok"], [each["line"] for each in report["problems"]]) == (False, [3, 4])


def test_diff() -> None:
    done = taihusim("machine", "diff", "sunway_taihulight", "taihulight_ldm128k")
    assert done.stdout.splitlines()[1].split() == ["processor.cpe.ldm", "64", "KiB", "128", "KiB"]
    assert json_of("machine", "diff", "sunway_taihulight", "sunway_taihulight")["differences"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["machne"], "Did you mean 'machine'?"),
        (["machine", "show", "--nosuch"], "No such option"),
        (
            ["machine", "show", "taihu"],
            "expected one of the machines k40m_cluster, k40m_node, sunway_oceanlight, sunway_taihulight",
        ),
        (["machine", "show", "--set", "machin.network.nodes=1"], "did you mean 'machine'?"),
        (["machine", "show", "--set", "machine.network.node=1"], "did you mean 'network.nodes'?"),
    ],
)
def test_bad_input_and_usage_exit_with_2_and_no_traceback(arguments: list[str], message: str) -> None:
    done = taihusim(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_version() -> None:
    assert taihusim("--version").stdout.startswith("taihusim")


def test_diff_with_a_setting() -> None:
    setting = ["--set", "machine.processor.cpe.ldm=128KiB"]
    done = taihusim("machine", "diff", "sunway_taihulight", *setting)
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert rows == [["processor.cpe.ldm", "64", "KiB", "128", "KiB"]]
    assert taihusim("machine", "diff", "sunway_taihulight").stdout == "No parameter differs.\n"
    same = taihusim("machine", "diff", "taihulight_ldm128k", "sunway_taihulight", *setting)
    assert same.stdout == "No parameter differs.\n"
