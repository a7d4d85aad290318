"""Places to write to are looked at before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sim.problems import BadInput
from taihusim.places import check_file, check_folder
from tests.taihusim.command import refused

FILE_OPTIONS = (
    ("kernel", "relu", "--elements", "64", "--trace"),
    ("collective", "allreduce", "--nodes", "2", "--trace"),
    ("validate", "--table", "gemm_ldm_primitive", "--residuals"),
)
FOLDER_OPTIONS = (
    ("predict", "digits", "--out"),
    ("validate", "--table", "gemm_ldm_primitive", "--out"),
    ("train", "digits", "--out"),
    ("infer", "digits", "--out"),
)


@pytest.mark.parametrize("arguments", [*FILE_OPTIONS, *FOLDER_OPTIONS], ids=lambda each: f"{each[0]} {each[-1]}")
def test_a_file_in_the_way(arguments: tuple[str, ...], tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    (line,) = refused(*arguments, str(taken / "deeper"))
    assert line.startswith(f"{arguments[-1]} {taken / 'deeper'}: expected a f")
    assert line.endswith(f"'{taken}'") or "..." in line
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("arguments", FILE_OPTIONS, ids=lambda each: each[0])
def test_a_folder_in_the_place_of_a_file(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (line,) = refused(*arguments, str(tmp_path))
    assert line.startswith(f"{arguments[-1]}: expected a file, not a folder")


def test_where_writing_is_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    for check in (check_file, check_folder):
        with pytest.raises(BadInput, match="a folder in which you may write"):
            check(tmp_path / "new", option="--out")


def test_new_places_and_files_to_be_replaced_are_well(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("replaced")
    check_file(tmp_path / "old", option="--trace")
    check_file(tmp_path / "new" / "deeper", option="--trace")
    check_folder(tmp_path / "new" / "deeper")
    check_folder(tmp_path)
