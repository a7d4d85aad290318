"""``taihusim validate``: what it prints and refuses, that no predictor sees a value, how good the predictions are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sim.machine.load import load_machine
from sim.problems import BadInput
from taihusim.cli import main
from taihusim.validation.predictors import PREDICTORS
from taihusim.validation.report import NO_PREDICTOR, TableReport, compare
from taihusim.validation.table import RESULTS, SHIPPED, read_table, read_tables

GRID = """\
# source: made up
what,cpes,pattern,cgs,bytes_per_cpe,block_bytes,total_bytes_per_cpe,value,unit
DMA get aggregate bandwidth,64,contiguous,1,4096,,,20,GB/s
DMA put aggregate bandwidth,8,strided,1,,128,32768,12.5,GB/s
DMA get aggregate bandwidth,64,contiguous,1,4096,,,0,GB/s
DMA get aggregate bandwidth,64,contiguous,4,4096,,,80,GB/s
DMA get aggregate bandwidth,65,contiguous,1,4096,,,20,GB/s
"""
SHARES = "run,nodes,value,unit\nA,1,-0.0,%\nA,2,11.5,%\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["validate", *arguments])


def report_of(table: str, *arguments: str) -> dict[str, Any]:
    done = run("--table", table, "--json", *arguments)
    assert done.exit_code == 0, done.output
    (report,) = json.loads(done.stdout)["tables"]
    assert isinstance(report, dict)
    return report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dma_grid.csv").write_text(GRID)
    (tmp_path / "made_up_shares.csv").write_text(SHARES)
    return tmp_path


def test_json_of_covered_uncovered_and_excluded_rows(folder: Path) -> None:
    report = report_of("dma_grid", "--tables", str(folder))
    assert (report["rows"], report["covered"], report["excluded_zero"]) == (5, 2, 1)
    assert report["unit_of_error"] == "fraction"
    assert [each["row"]["cpes"] for each in report["uncovered"]] == ["64", "65"]
    assert "one core group" in report["uncovered"][0]["reason"]
    assert report["uncovered"][0]["line"] == 6
    assert "value" not in report["uncovered"][0]["row"]
    assert 0 < report["median_abs_error"] <= report["mean_abs_error"] <= report["p95_abs_error"]
    assert report["p95_abs_error"] == report["max_abs_error"] >= abs(report["bias"])


def test_tables_without_a_predictor_are_said_to_have_none(folder: Path) -> None:
    report = report_of("made_up_shares", "--tables", str(folder))
    assert (report["rows"], report["covered"], report["mean_abs_error"]) == (2, 0, None)
    assert report["unit_of_error"] == "percentage points"
    assert [each["reason"] for each in report["uncovered"]] == [NO_PREDICTOR]
    done = run("--tables", str(folder))
    assert done.exit_code == 0
    assert "made_up_shares: 1 row not covered: no predictor yet" in done.stdout
    assert "dma_grid: 1 row left out: 0 was measured" in done.stdout


def test_out_keeps_report_and_plot(folder: Path) -> None:
    out = folder / "new" / "out"
    done = run("--tables", str(folder), "--out", str(out))
    assert done.exit_code == 0, done.output
    assert (out / "dma_grid.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.iterdir()) == ["dma_grid.png", "validate.json"]
    assert len(json.loads((out / "validate.json").read_text())["tables"]) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--table", "dma_gird"], "did you mean 'dma_grid'?"),
        (["--tables", "no/such/folder"], "no/such/folder: expected a folder with tables"),
        (["--tables", "."], "found none"),
        (["--table", "dma_block_size", "--out", "dma_grid.csv"], "--out dma_grid.csv: expected a folder"),
    ],
)
def test_bad_input(arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "--out" in arguments:
        (tmp_path / "dma_grid.csv").write_text(GRID)
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert says in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("what,value,unit\nx,1,s\nx,1\n", ":3: expected 3 cells"),
        ("# source: x\nwhat,value,unit\nx,fast,s\n", ":3: value: expected a number, found 'fast'"),
        ("# source: x\nwhat,value,unit\nx,nan,s\n", ":3: value: expected a number"),
        ("# source: x\nwhat,unit\nx,s\n", ":2: expected a column 'value'"),
        ("what,value\nx,1\n", ":1: expected a column 'unit'"),
        ("", ":1: expected a column 'value'"),
        ('what,value,unit\n"x"y,1,s\n', ":2: expected a well-formed CSV line"),
    ],
)
def test_malformed_tables_are_refused_with_the_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "dma_grid.csv").write_text(text)
    with pytest.raises(BadInput) as caught:
        read_tables(tmp_path)
    assert f"dma_grid.csv{says}" in str(caught.value)


def test_shipped_tables_name_their_sources_and_hide_their_results() -> None:
    tables = read_tables()
    not_shipped = {"conv_swdnn2017_kernel_size_fp64", "conv_swdnn2017_table3"}
    assert {table.name for table in tables} >= set(PREDICTORS) - not_shipped
    for table in tables:
        assert any(comment.startswith("source: ") for comment in table.comments), table.name
        assert table.rows
        for column in RESULTS.get(table.name, ("value",)):
            assert all(column not in row.inputs for row in table.rows)


@pytest.mark.parametrize("name", ["dma_grid", "dma_block_size", "dma_stream"])
def test_predictions_do_not_depend_on_values(name: str, tmp_path: Path) -> None:
    """The same rows with other values: the same predictions."""
    lines = (SHIPPED / f"{name}.csv").read_text().splitlines()
    header = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    rows = lines[header + 1 : header + 14]
    changed = [f"{before},{7.5 + number},{unit}" for number, row in enumerate(rows) for before, _, unit in [split(row)]]
    predictions = []
    for kept in (rows, changed):
        file = tmp_path / f"{name}.csv"
        file.write_text("\n".join([*lines[: header + 1], *kept]) + "\n")
        predictions.append([each.predicted for each in predict(file).compared])
    assert len(predictions[0]) == len(rows)
    assert predictions[0] == predictions[1]


def split(row: str) -> tuple[str, str, str]:
    before, value, unit = row.rsplit(",", 2)
    return before, value, unit


def predict(file: Path) -> TableReport:
    return compare(read_table(file), machine=load_machine("sunway_taihulight"), predictors=PREDICTORS)


@pytest.mark.validation
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mean", "most"),
    [
        ("dma_strided_alignment", 0.015, 0.17),
        ("dma_grid", 0.045, 0.27),
        ("dma_block_size", 0.045, 0.16),
        ("dma_stream", 0.08, 0.50),
        ("dma_compute_overlap", 0.05, 0.12),
        ("gemm_ldm_primitive", 0.007, 0.012),
    ],
)
def test_tables(name: str, mean: float, most: float) -> None:
    report = predict(SHIPPED / f"{name}.csv")
    assert not report.uncovered
    assert report.mean_abs_error is not None
    assert report.max_abs_error is not None
    assert report.mean_abs_error <= mean
    assert report.max_abs_error <= most


@pytest.mark.validation
def test_the_scoreboard_alone_predicts_the_gemm_primitive() -> None:
    """The labelled residual is not what makes the prediction."""
    report = compare(
        read_table(SHIPPED / "gemm_ldm_primitive.csv"),
        machine=load_machine("sunway_taihulight", ["processor.cpe.pipeline.gemm_mesh_step_residual=0 cycles"]),
        predictors=PREDICTORS,
    )
    assert not report.uncovered
    assert report.mean_abs_error is not None
    assert report.max_abs_error is not None
    assert report.mean_abs_error <= 0.007
    assert report.max_abs_error <= 0.02
