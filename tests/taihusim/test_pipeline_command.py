"""``taihusim pipeline``: the issue table on the real command line."""

from __future__ import annotations

import pytest

from tests.taihusim.command import json_of, taihusim


def test_the_table_shows_both_pipes_and_the_reasons() -> None:
    done = taihusim("pipeline", "swdnn-2016", "--role", "receiver-receiver")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "swdnn-2016, fp64, receiver-receiver"
    assert any(line.split()[:6] == ["k-step,", "this", "role", "alone", "17", "FIFOs"] for line in lines)
    assert any(line.split()[:5] == ["k-step", "on", "the", "mesh", "19"] for line in lines)
    rows = lines[next(n for n, line in enumerate(lines) if line.startswith("cycle")) + 1 :]
    assert [int(row.split()[0]) for row in rows] == list(range(19))
    assert "vmad c10 += a1*b0  getr a2" in rows[1]
    assert "FIFO empty (row)" in rows[0]
    assert rows[18].endswith("bne loop   vmad c00 += a0*b0: behind a branch (bne loop)")


def test_json_is_one_object() -> None:
    found = json_of("pipeline", "autotuned-2019")
    assert (found["schedule"], found["role"], found["dtype"]) == ("autotuned-2019", "sender-sender", "fp64")
    assert found["k_step_cycles"] == found["k_step_cycles_alone"] == 16
    assert found["block_cycles"] == pytest.approx(59)
    assert len(found["cycles"]) == 16
    assert found["cycles"][0] == {"cycle": 0, "p0": "vmad c00 += a0*b0", "p1": "vldr a2", "stalls": []}
    waiting = [stall for row in found["cycles"] for stall in row["stalls"]]
    assert waiting[0] == {"instruction": "vmad c21 += a2*b1", "reason": "pipe busy", "subject": "P0"}


def test_fp32_shows_the_conversion_or_the_separate_broadcasts() -> None:
    assert json_of("pipeline", "autotuned-2019", "--dtype", "fp32")["conversion_cycles_per_element"] == 14
    by_hand = json_of("pipeline", "swdnn-2016", "--dtype", "fp32")
    assert (by_hand["k_step_cycles"], by_hand["conversion_cycles_per_element"]) == (25, 0)


def test_a_changed_machine_changes_the_table() -> None:
    found = json_of("pipeline", "compiler", "--set", "machine.processor.cpe.pipeline.vector_load=6cycles")
    assert found["k_step_cycles"] == 28


def test_help_has_an_example() -> None:
    done = taihusim("pipeline", "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout


def test_bad_names_are_all_named_with_the_nearest() -> None:
    done = taihusim("pipeline", "autotuned2019", "--role", "sender-recever", "--dtype", "fp65", "--part", "lop")
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    nearest = ("autotuned-2019", "sender-receiver", "fp64", "loop")
    assert len(lines) == 4
    for line, name in zip(lines, nearest, strict=True):
        assert f"did you mean '{name}'?" in line


def test_a_mesh_of_one_cpe_has_no_receivers() -> None:
    settings = ("--set", "machine.processor.mesh.rows=1", "--set", "machine.processor.mesh.columns=1")
    done = taihusim("pipeline", "compiler", *settings)
    assert done.returncode == 2
    assert "a mesh of at least 2 x 2" in done.stderr
