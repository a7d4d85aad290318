"""What would relieve a step: a tenth better each."""

from __future__ import annotations

from pathlib import Path

import pytest

from taihusim.options import Settings
from taihusim.planning import plan_steps
from taihusim.sensitivity import changes, sensitivity
from tests.taihusim.tiny import tiny_workload

MACHINE = "sunway_taihulight"

pytestmark = pytest.mark.timing


def test_times_get_shorter_and_all_else_larger() -> None:
    found = {each.parameter.key: each for each in changes(MACHINE, (), reach="chip", noise=False)}
    assert found["processor.mpe.launch"].by == pytest.approx(-0.1)
    assert found["network.link.node_bandwidth"].by == pytest.approx(0.1)
    assert found["network.topology.links_per_switch"].setting == "network.topology.links_per_switch=3"
    assert found["processor.clock"].by == pytest.approx(0.1)
    assert "network.nodes" not in found
    assert "noise.compute_jitter" not in found
    around = {each.parameter.key for each in changes(MACHINE, (), reach="network", noise=True)}
    assert "processor.clock" not in around
    assert "noise.compute_jitter" in around


@pytest.mark.slow
def test_a_shorter_launch_saves_its_share_and_a_faster_link_needs_a_network(tmp_path: Path) -> None:
    workload = tiny_workload(tmp_path)
    steps = plan_steps(workload=workload, machine=MACHINE, mapping="default", settings=Settings())
    rows = sensitivity(steps, machine=MACHINE, settings=(), nodes=(1, 64))
    launches = steps.training(16).reasons["launch"]
    by_key = {row["key"]: [each["change"] for each in row["changes"]] for row in rows}
    alone, many = by_key["processor.mpe.launch"]
    assert alone == pytest.approx(-0.1 * launches / steps.training(16).seconds, rel=1e-6)
    assert alone < many < 0
    assert by_key["network.link.node_duplex_bandwidth"][0] == 0
    assert by_key["network.link.node_duplex_bandwidth"][1] < 0
    assert [min(changes) for changes in by_key.values()] == sorted(min(changes) for changes in by_key.values())
    assert all(any(changes) for changes in by_key.values())
