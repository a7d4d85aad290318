"""The command line as tests ask it: in a process of its own, or here, which saves a second each time."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from taihusim.cli import main

ROOT = Path(__file__).parents[2]
Done = subprocess.CompletedProcess[str]


def in_own_process(*arguments: str) -> Done:
    """As a user's shell runs it."""
    command = [sys.executable, "-m", "taihusim", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def taihusim(*arguments: str) -> Done:
    """In this process: the same from click on: what is printed and the exit code, without a new interpreter."""
    out, error = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(error), pytest.raises(SystemExit) as ended:
        main(list(arguments), prog_name="taihusim")
    code = ended.value.code
    assert isinstance(code, int)
    return Done(arguments, code, out.getvalue(), error.getvalue())


def json_of(*arguments: str) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    result = json.loads(taihusim(*arguments, "--json").stdout)
    assert isinstance(result, dict)
    return result


def refused(*arguments: str) -> list[str]:
    """The lines of a refusal: exit code 2, nothing on standard output, no traceback."""
    done = taihusim(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()
