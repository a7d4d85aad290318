"""``taihusim serve``: an inference service on a simulated machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taihusim.serve import quarters
from tests.taihusim.command import json_of, refused, taihusim


@pytest.fixture(autouse=True, scope="module")
def kept_times(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels are timed once for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAIHUSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


DIGITS = ("serve", "digits", "--batch-sizes", "1,16", "--requests", "2000")


@pytest.mark.slow
def test_latencies_rise_with_the_load_and_not_with_the_nodes() -> None:
    calm = json_of(*DIGITS, "--nodes", "1,4096", "--load", "0.3")["points"]
    busy = json_of(*DIGITS, "--nodes", "1", "--load", "0.95")["points"][0]
    assert calm[0]["latency_p50"] <= calm[0]["latency_p99"] <= calm[0]["latency_p999"]
    assert busy["latency_p99"] > calm[0]["latency_p99"]
    assert calm[1]["capacity_requests_per_second"] == pytest.approx(4096 * calm[0]["capacity_requests_per_second"])
    assert calm[1]["latency_p50"] < 1.5 * calm[0]["latency_p50"]
    assert 1 <= calm[0]["mean_batch"] <= 16


def test_the_same_seed_gives_the_same_latencies_and_another_does_not() -> None:
    first, again, other = (json_of(*DIGITS, "--seed", seed)["points"] for seed in ("1", "1", "2"))
    assert first == again != other


def test_what_is_too_much_is_said_and_has_no_latency() -> None:
    point = json_of(*DIGITS, "--rate", "1e12")["points"][0]
    assert (point["keeps_up"], point["latency_p50"]) == (False, None)
    assert "the queue grows without end" in taihusim(*DIGITS, "--rate", "1e12").stdout


def test_recorded_requests_are_all_answered(tmp_path: Path) -> None:
    path = tmp_path / "arrivals.txt"
    path.write_text("0\n0.5\n\n0.75\n")
    result = json_of(*DIGITS, "--nodes", "2", "--arrivals", str(path))
    assert (result["arrivals"], result["points"][0]["requests"]) == ("recorded", 3)


def test_bad_input_is_named_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "arrivals.txt"
    path.write_text("1\nsoon\n0.5\n")
    lines = refused(
        "serve", "digits", "--batch-sizes", "4,1", "--max-wait", "5", "--arrivals", str(path), "--nodes", "1"
    )
    text = "\n".join(lines)
    for expected in ("--batch-sizes", "--max-wait", "line 2", "line 3", "not before 1"):
        assert expected in text
    assert "1 to 40,960" in "\n".join(refused(*DIGITS, "--nodes", "50000"))


def test_files_of_arrivals_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for place, reason in (("binary", "it is no text in UTF-8"), (".", "Is a directory"), ("none", "No such file")):
        (line,) = refused("serve", "digits", "--arrivals", str(tmp_path / place))
        assert line.startswith(
            f"--arrivals: expected a text file with a time of arrival in seconds on each line ({reason}"
        )


def test_as_many_requests_as_the_whole_machine_answers_are_read_without_an_exponent() -> None:
    lines = taihusim(*DIGITS, "--nodes", "40960").stdout.splitlines()
    assert len(lines[2].split()[1].split(",")) >= 3


def test_sizes_are_quarters_down_to_one() -> None:
    assert quarters(32) == (1, 2, 8, 32)
    assert quarters(1) == (1,)
