"""The demonstration's picture."""

from __future__ import annotations

import builtins
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihusim.figure import save_figure, spread
from tests.workloads.records import infer_record, train_record
from workloads.record import RunRecord


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "infer"),
    [
        (train_record(), infer_record()),
        (train_record((1, 2, 4, 8, 16, 64, 256, 1024), reached=False), infer_record((1, 1024))),
        (train_record((1,)), None),
    ],
    ids=["demo", "many", "one"],
)
def test_a_png_of_sensible_size(tmp_path: Path, train: RunRecord, infer: RunRecord | None) -> None:
    path = tmp_path / "out" / "figure.png"
    save_figure(train=train, infer=infer, path=path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert 1200 <= width <= 2000
    assert 600 <= height <= 1000
    assert 20_000 < len(data) < 500_000


def test_runs_of_which_nothing_is_known_are_left_out(tmp_path: Path) -> None:
    train = train_record()
    train.result["runs"][0].update(seconds_per_step=None, curve=[])
    infer = infer_record()
    infer.result["points"][0]["samples_per_second"] = None
    save_figure(train=train, infer=infer, path=tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 20_000


@pytest.mark.slow
def test_the_same_records_give_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_figure(train=train_record(), infer=infer_record(), path=tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ModuleNotFoundError, match=r"taihusim\[plot\]"):
        save_figure(train=train_record(), path=tmp_path / "figure.png")


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8).map(sorted))
def test_labels_keep_their_distance_and_stay_inside(places: list[float]) -> None:
    moved = spread(places, gap=12.0, low=0.0, high=100.0)
    assert all(right - left >= 12.0 - 1e-9 for left, right in pairwise(moved))
    assert moved[0] >= 0.0
    assert moved[-1] <= 100.0 + 1e-9


def test_labels_that_have_room_stay_where_they_are() -> None:
    assert spread([10.0, 40.0, 80.0], gap=20.0, low=0.0, high=100.0) == [10.0, 40.0, 80.0]
    assert spread([50.0, 50.0], gap=20.0, low=0.0, high=100.0) == [40.0, 60.0]
