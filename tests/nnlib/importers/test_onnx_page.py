"""The manual's table names the operators that are imported, no others."""

from __future__ import annotations

import re
from pathlib import Path

import nnlib.importers.onnx
from nnlib.importers.onnx.importer import RULES

PAGE = Path(__file__).parents[3] / "docs" / "onnx.md"


def test_the_table_has_every_operator() -> None:
    assert nnlib.importers.onnx.load_onnx  # fills the rules
    rows = [line.split("|")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(RULES)
