"""How every command ends: exit codes, one-line failures, tracebacks on request, tables and JSON."""

from __future__ import annotations

import json
import sys
import time
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from sim.problems import BadInput, Problem
from taihusim.cli import main
from taihusim.console import print_json, print_table, progress
from taihusim.options import Settings, split_settings

NO_FILE = BadInput([Problem(file="a.yaml", key="", value=None, expected="a file that exists")])


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (NO_FILE, 2, "a.yaml: expected a file that exists\n"),
        (RuntimeError("no room\nfor this"), 1, "RuntimeError: no room (--debug shows where)\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
        (click.UsageError("not so"), 2, "Error: not so\n"),
    ],
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, failure: BaseException, code: int, message: str) -> None:
    @click.command()
    def command() -> None:
        raise failure

    monkeypatch.setitem(sys.modules, "taihusim.commands.train", SimpleNamespace(command=command))
    result = CliRunner().invoke(main, ["train"])
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.endswith(message)
    assert "Traceback" not in result.stderr
    if isinstance(failure, RuntimeError):
        assert "Traceback" in CliRunner().invoke(main, ["--debug", "train"]).stderr


@pytest.mark.parametrize(
    ("arguments", "most"),
    [
        (["serve", "digits", "--rate"], "1e15"),
        (["serve", "digits", "--load"], "1e6"),
        (["faults", "digits", "--hours"], "1e6"),
        (["train", "digits", "--epochs"], "1e6"),
        (["train", "digits", "--until-accuracy"], "1"),
    ],
)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "-1", "one", "more"])
def test_numbers_above_zero(arguments: list[str], most: str, value: str) -> None:
    result = CliRunner().invoke(main, [*arguments, f"{float(most) * 1.01:.3g}" if value == "more" else value])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '{arguments[-1]}'" in result.stderr


def test_settings_are_sorted_by_noun() -> None:
    settings = ("machine.a.b=1", "mapping.nodes=4", "machine.c=x.y=z")
    assert split_settings(settings) == Settings(machine=("a.b=1", "c=x.y=z"), mapping=("nodes=4",))
    with pytest.raises(BadInput, match=r"expected machine.KEY=VALUE, found 'mapping'") as caught:
        split_settings([*settings, "nodes=3"], nouns=("machine",))
    assert len(caught.value.problems) == 2


def test_plain_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "size"), [("a", 1), ("[derived]", None)], title="Title", right=("size",))
    assert capsys.readouterr().out == "Title\nname       size\na             1\n[derived]     -\n"


def test_table_on_a_terminal_keeps_square_brackets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(("name",), [("[derived]",)], title="Title")
    assert "[derived]" in capsys.readouterr().out


def test_a_table_too_wide_for_a_terminal_goes_on_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rather than in columns of single letters; each part says whose numbers they are."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for name, value in (("COLUMNS", "40"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    columns = ("nodes", *(f"quantity_{number}" for number in range(6)))
    print_table(columns, [("40,960", *"123456")], title="Title", right=columns)
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 40
    assert [line.split() for line in lines if "quantity" in line] == [
        ["nodes", "quantity_0", "quantity_1"],
        ["nodes", "quantity_2", "quantity_3"],
        ["nodes", "quantity_4", "quantity_5"],
    ]
    assert [line.split() for line in lines if "40,960" in line] == [["40,960", *pair] for pair in ("12", "34", "56")]
    print_table(("key", "note"), [("a", "a long note " * 9)])
    assert "key" in capsys.readouterr().out  # one column alone is too wide: folded as before


def test_json_has_null_for_what_is_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"loss": float("nan"), "curve": [1.5, (float("inf"), {"x": -float("inf")})]})
    assert json.loads(capsys.readouterr().out) == {"loss": None, "curve": [1.5, [None, {"x": None}]]}


def test_progress_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as report:
        report.say("work", 0.5)
    assert capsys.readouterr() == ("", "")
    with progress() as report:
        report.note("a part is done")
    assert capsys.readouterr() == ("", "a part is done\n")


def test_progress_appears_on_a_terminal_when_it_lasts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress() as report:
        report.say("work", 0.5)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("taihusim.console.PROGRESS_DELAY_SECONDS", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress() as report:
        report.say("first", None)
        time.sleep(0.5)
        report.say("then", 0.5)
        report.note("a part is done")
        time.sleep(0.3)
    captured = capsys.readouterr()
    assert "then" in captured.err
    assert "a part is done" in captured.err
    assert captured.out == ""
