"""``predict`` of programs: their JSON, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.taihusim.command import refused, taihusim
from workloads.hpc.files import list_programs, load_program
from workloads.hpc.hpl_spec import HplWorkload
from workloads.hpc.names import is_program, program_kind

COMMON = {"nodes", "cores", "processes", "shares", "memory_bytes_per_core_group", "bottleneck"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "fields"),
    [
        (
            "hpl",
            ["workload.problem.order=800000", "workload.mapping.order=row_major"],
            {
                "seconds",
                "flops_per_second",
                "peak_fraction",
                "losses_flops_per_second",
                "grid_rows",
                "grid_columns",
                "order",
                "energy_joules",
            },
        ),
        (
            "hpcg",
            ["workload.points=[16, 16, 16]", "workload.levels=2"],
            {"seconds_per_iteration", "flops_per_second", "peak_fraction", "unknowns", "energy_joules_per_iteration"},
        ),
    ],
)
def test_json(name: str, settings: list[str], fields: set[str]) -> None:
    done = taihusim("predict", name, "--nodes", "1,16", "--json", *(f"--set={each}" for each in settings))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["workload"], result["kind"], result["machine"]) == (name, name, "sunway_taihulight")
    assert [point["nodes"] for point in result["points"]] == [1, 16]
    for point in result["points"]:
        assert set(point) >= COMMON | fields
        assert sum(point["shares"].values()) == pytest.approx(1)
        assert 0 < point["peak_fraction"] < 1
        if name == "hpl":  # from the peak to the result
            lost, rate = point["losses_flops_per_second"], point["flops_per_second"]
            assert rate + sum(lost.values()) == pytest.approx(rate / point["peak_fraction"])
            assert min(lost.values()) > 0


@pytest.mark.slow
@pytest.mark.numeric
def test_small_cases_are_computed() -> None:
    small = ["workload.problem.order=320", "workload.problem.order_nodes=4", "workload.problem.block=16"]
    settings = [f"--set={each}" for each in small]
    done = taihusim("predict", "hpl", "--nodes", "4", "--numerics", "tile", "--json", *settings)
    (point,) = json.loads(done.stdout)["points"]
    assert (point["order"], point["grid_rows"], point["grid_columns"]) == (320, 4, 4)
    assert 0 < point["scaled_residual"] < 16
    points = ["--set=workload.points=[8, 8, 8]", "--set=workload.levels=2"]
    done = taihusim("predict", "hpcg", "--nodes", "2", "--numerics", "layer", "--json", *points)
    (point,) = json.loads(done.stdout)["points"]
    assert point["relative_residual"] < 1e-12
    assert 10 < point["iterations"] < 60


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hpl", "--nodes", "40961"], "--nodes: expected 1 to 40,960 nodes"),
        (["hpl", "--batch-per-node", "3"], "--batch-per-node: expected nothing: this program is no network"),
        (["hpl", "--noise"], "--noise is for networks"),
        (["hpl", "--out", "runs"], "--out is for networks"),
        (["hpl", "--target", "training"], "--target is for networks"),
        (["hpl", "--sensitivity", "chip"], "--sensitivity chip is for networks"),
        (["hpcg", "--sensitivity"], "--sensitivity: expected nothing: the choices of hpcg are those of its workload"),
        (
            ["hpl", "--nodes", "1", "--numerics", "layer"],
            "--numerics: expected at most 256 processes and an order of 2,048",
        ),
        (["hpcg", "--nodes", "1", "--numerics", "layer"], "--numerics: expected at most 300,000 unknowns"),
        (["hpl", "--set", "workload.mapping.leaf=3"], "mapping.leaf: expected the block of 256 halved"),
        (["hpl", "--set", "workload.mapping.broadcast=rings"], "did you mean 'ring'"),
        (["hpl", "--set", "workload.mapping.rows=3"], "mapping.rows: expected a number that divides the 4 processes"),
        (["hpl", "--set", "workload.problem.order=20000000"], "problem.order: expected an order of at most about 6"),
        (["hpcg", "--set", "workload.points=[104, 104, 104]"], "points: expected multiples of 16"),
        (["hpcg", "--set", "workload.points=[640, 640, 640]"], "points: expected fewer points"),
        (["hpcg", "--set", "workload.mapping.collective=rng"], "mapping.collective: expected an all-reduce algorithm"),
        (["climate", "--set", "workload.network=digits"], "network: expected a network of one input"),
    ],
)
def test_refused(arguments: list[str], said: str) -> None:
    done = taihusim("predict", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_says_which_kind_it_is(tmp_path: Path) -> None:
    assert list_programs() == ("climate", "hpcg", "hpl")
    assert all(is_program(name) for name in list_programs())
    assert not is_program("resnet50")
    assert not is_program("hpl.yml")
    mine = tmp_path / "mine.yaml"
    mine.write_text("title: x\n")
    assert not is_program(str(mine))
    mine.write_text("title: x\nkind: hpll\n")
    assert is_program(str(mine))
    (said,) = refused("predict", str(mine))
    assert "did you mean 'hpl'" in said
    mine.write_text("extends: hpl\nproblem: {block: 128}\n")
    assert program_kind(str(mine)) == "hpl"
    changed = load_program(mine)
    assert isinstance(changed, HplWorkload)
    assert (changed.block, changed.order) == (128, 12_288_000)
    mine.write_text("extends: mine.yaml\n")
    assert not is_program(str(mine))


@pytest.mark.parametrize(
    "command", ["train hpl", "infer hpcg", "serve hpl", "compare hpl --machines sunway_taihulight,k40m_cluster"]
)
def test_commands_for_networks_say_what_a_program_is_for(command: str) -> None:
    (said,) = refused(*command.split())
    assert "expected a network; hp" in said
    assert "is a program, for taihusim predict and taihusim workload show" in said
