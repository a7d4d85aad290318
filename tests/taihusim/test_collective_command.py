"""``taihusim collective``: what it prints, keeps and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sim.machine.load import load_machine
from sim.network.collectives import OPERATIONS
from taihusim.cli import main
from taihusim.collective import DEFAULTS, collective_request, run_collective
from tests.taihusim.command import json_of, taihusim

STABLE = [
    "op",
    "algorithm",
    "nodes",
    "ranks",
    "bytes",
    "seconds",
    "seconds_first_rank",
    "effective_gbs",
    "busiest_links",
    "host_seconds",
]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["collective", *arguments])


def answer(*arguments: str) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_json_is_one_object_with_the_stable_names() -> None:
    found = json_of("collective", "all-reduce", "--bytes", "100MB", "--nodes", "256", "--algorithm", "halving-doubling")
    assert list(found)[:10] == STABLE
    assert (found["op"], found["algorithm"], found["ranks"]) == ("allreduce", "halving_doubling", 256)
    assert found["effective_gbs"] == pytest.approx(2.979, rel=1e-3)
    assert found["effective_gbs"] == pytest.approx(2 * 255 / 256 * 0.1 / found["seconds"], rel=1e-9)
    parts = sum(found[f"{each}_seconds"] for each in ("latency", "transfer", "reduce"))
    assert parts == pytest.approx(found["seconds"], rel=1e-9)
    assert found["busiest_links"][0]["kind"] == "node both ways"
    assert found["step_by_step"] is None
    assert found["contention"] == "exact"


@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_every_collective_has_a_default_and_more_bytes_take_longer(operation: str) -> None:
    small, large = (answer(operation, "--bytes", size, "--nodes", "24") for size in ("10000", "10MB"))
    assert small["algorithm"] == DEFAULTS[operation]
    assert 0 < small["seconds"] < large["seconds"]
    assert large["seconds_by_rank"]["first"] <= large["seconds_by_rank"]["median"] <= large["seconds_by_rank"]["last"]


def test_single_flows_agree_on_what_is_exact() -> None:
    flow, step = (
        answer("allreduce", "--nodes", "64", "--bytes", "6.4MB", "--network", name) for name in ("flow", "step")
    )
    assert flow["seconds"] == pytest.approx(step["seconds"], rel=1e-9)


def test_steps_are_a_table_and_a_timeline(tmp_path: Path) -> None:
    file = tmp_path / "ring.perfetto-trace"
    done = run("broadcast", "--nodes", "8", "--bytes", "1MB", "--algorithm", "chain", "--steps", "--trace", str(file))
    assert done.exit_code == 0, done.output
    assert "22" in [line.split()[0] for line in done.stdout.splitlines() if line.split()]
    content = file.read_bytes()
    assert b"step 1: 62.5 KB to 1" in content
    assert b"step 22: 62.5 KB from 6" in content
    assert b"rank 7" in content


@pytest.mark.parametrize("network", ["step", "flow"])
def test_steps_end_when_the_collective_does(network: str) -> None:
    how = ["--algorithm", "hierarchical", "--ranks-per-node", "4", "--network", network]
    found = answer("allreduce", "--nodes", "48", "--steps", *how)
    assert found["step_by_step"][-1]["seconds_end"] == pytest.approx(found["seconds"], rel=1e-12)
    assert sum(step["messages"] for step in found["step_by_step"]) == found["messages"]
    assert found["step_by_step"][0]["seconds_begin"] == 0.0


def test_what_if() -> None:
    seconds = answer("allreduce", "--nodes", "128")["seconds"]
    assert answer("allreduce", "--nodes", "128", "--reduction-by", "mpe_scalar")["seconds"] > 3 * seconds
    assert answer("allreduce", "--nodes", "128", "--reduction-overlap")["seconds"] < seconds
    split = answer("allreduce", "--nodes", "128", "--message-segment", "64KiB")["seconds"]
    assert seconds < answer("allreduce", "--nodes", "128", "--message-segment", "64KiB", "--in-flight", "2")["seconds"]
    assert answer("allreduce", "--nodes", "128", "--message-segment", "64KiB", "--in-flight", "2")["seconds"] < split
    faster = "machine.network.link.node_duplex_bandwidth=11.9GB/s"
    assert answer("allreduce", "--nodes", "128", "--set", faster)["seconds"] < seconds


def test_one_rank_has_no_bandwidth() -> None:
    found = answer("allreduce", "--nodes", "1")
    assert (found["effective_gbs"], found["seconds"], found["busiest_links"]) == (None, 0.0, [])


def test_a_request_can_be_made_without_the_command_line() -> None:
    machine = load_machine("sunway_taihulight")
    request = collective_request(
        machine=machine, op="alltoall", size="1MB", algorithm=None, message_segment=None, nodes=6
    )
    assert run_collective(request, machine=machine).seconds > 5 * 1e6 / 6 / 5.95e9


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["alreduce"], "OP: expected a collective"),
        (["alreduce"], "did you mean 'allreduce'?"),
        (["allreduce", "--algorithm", "rign"], "--algorithm: expected an algorithm of allreduce"),
        (["allreduce", "--algorithm", "rign"], "did you mean 'ring'?"),
        (["allreduce", "--nodes", "40961"], "--nodes: expected 1 to 40,960, the nodes of sunway_taihulight"),
        (["allreduce", "--nodes", "0"], "--nodes: expected 1 to 40,960"),
        (["allreduce", "--nodes", "2000", "--network", "flow"], "--nodes: expected 1 to 1,024"),
        (["allreduce", "--bytes", "12 parsecs"], "--bytes: expected a size such as"),
        (["allreduce", "--message-segment", "0 B"], "--message-segment: expected"),
        (["alltoall", "--nodes", "5000"], "at most 4,096 ranks for pairwise"),
    ],
)
def test_bad_input(arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_all_problems_come_at_once_and_help_has_an_example() -> None:
    done = taihusim("collective", "allreduce", "--bytes", "x", "--nodes", "0", "--algorithm", "y")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3
    assert "taihusim collective allreduce" in taihusim("collective", "--help").stdout


def test_sizes_whose_parts_cannot_be_counted() -> None:
    """Bounds of parts beyond 64 bits wrapped around to other sizes without a word."""
    huge = ("collective", "allreduce", "--nodes", "16", "--bytes")
    (line,) = taihusim(*huge, "1000000TB").stderr.splitlines()
    assert line.startswith("--bytes: expected at most 288,230 TB for each rank")
    assert taihusim(*huge, "280000TB").returncode == 0
    done = taihusim("collective", "broadcast", "--algorithm", "chain", "--segments", "100000000000")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Invalid value for '--segments'" in done.stderr
