"""``taihusim faults``: time to completion of a run on a machine that fails."""

from __future__ import annotations

import pytest

from sim.faults.rate import job_links, job_mtbf_seconds
from sim.machine.load import load_machine
from sim.problems import BadInput
from sim.storage.striping import Striping
from taihusim.faults import read_interval
from tests.taihusim.command import json_of, refused, taihusim
from workloads.datasets.storage import GENERATED
from workloads.facts import WorkloadFacts
from workloads.jobs.completion import (
    checkpoint_bytes,
    checkpoint_cost,
    complete,
    equal_interval,
    expected_to_train,
)
from workloads.mapping_file import load_mapping

MACHINE = load_machine("sunway_taihulight")
STRIPING = Striping(stripes=32, stripe_bytes=256_000_000)
FACTS = WorkloadFacts(
    name="x", title="x", batch_per_node=1, train_size=1, dataset=None, learns=True, parameters=1000,
    recipe_samples=1, recipe_batch=1, stored=GENERATED, optimiser_states=2, statistics=10, sample_numbers=5,
)  # fmt: skip


class TestCommand:
    def test_a_run_on_all_nodes(self) -> None:
        result = json_of("faults", "digits", "--nodes", "1,40960", "--hours", "24", "--runs", "200")
        one, all_nodes = result["points"]
        assert one["useful_fraction"] == pytest.approx(1, abs=1e-3)
        assert all_nodes["mtbf_seconds"] == job_mtbf_seconds(MACHINE, nodes=40_960)
        assert all_nodes["work_seconds"] == 24 * 3600
        assert (
            all_nodes["simulated_seconds_low"] <= all_nodes["simulated_seconds"] <= all_nodes["simulated_seconds_high"]
        )
        assert all_nodes["simulated_seconds"] == pytest.approx(all_nodes["expected_seconds"], rel=0.01)
        assert sum(all_nodes["shares"].values()) == pytest.approx(1, rel=1e-12)
        times = [each["expected_seconds"] for each in all_nodes["curve"]]
        assert min(times) == pytest.approx(all_nodes["expected_seconds"], rel=1e-3)
        assert times[0] > times[len(times) // 2] < times[-1]

    def test_as_a_table_with_a_hopeless_machine(self) -> None:
        done = taihusim(
            "faults", "digits", "--hours", "100", "--interval", "2h", "--set", "machine.faults.node_mtbf=60 s"
        )
        assert done.returncode == 0, done.stderr
        assert "never" in done.stdout
        assert "--writers" in done.stdout

    def test_all_that_is_wrong_at_once(self) -> None:
        text = "\n".join(refused("faults", "digit", "--nodes", "4,x", "--hours", "1", "--interval", "5"))
        for part in ("'x'", "did you mean 'digits'", "'5'", "600 s"):
            assert part in text
        text = "\n".join(refused("faults", "digits", "--nodes", "40961", "--hours", "1000", "--interval", "1us"))
        assert "40961" in text
        assert "at most 1,000,000,000 checkpoints" in text


def test_intervals_are_read() -> None:
    assert read_interval("auto") is None
    assert read_interval("600 s") == 600
    assert read_interval("2h") == 7200
    with pytest.raises(BadInput, match="expected auto, or a duration such as '600 s'"):
        read_interval("often")


def test_a_checkpoint_holds_weights_statistics_and_what_the_optimiser_keeps() -> None:
    assert checkpoint_bytes(FACTS, load_mapping()) == 8 * (1000 + 2000 + 10)
    assert checkpoint_bytes(FACTS, load_mapping("default", ["precision=fp32"])) == 4 * 3010
    assert checkpoint_bytes(FACTS, load_mapping("default", ["precision=int16", "master_copy=true"])) == 8 * 4010


def test_writers_share_a_checkpoint_and_all_others_get_it_sent() -> None:
    one, four = (
        checkpoint_cost(MACHINE, size=2_990_000_000, nodes=64, striping=STRIPING, writers=writers) for writers in (1, 4)
    )
    assert one.write_seconds == pytest.approx(10, rel=0.01)  # 299 MB/s, and a few seeks
    assert four.write_seconds == pytest.approx(2.5, rel=0.02)
    assert one.restart_seconds == pytest.approx(300 + one.write_seconds + 2 * 2.99 / 5.95, rel=1e-9)
    alone = checkpoint_cost(MACHINE, size=2_990_000_000, nodes=1, striping=STRIPING, writers=4)
    assert alone.restart_seconds == 300 + one.write_seconds


def test_a_job_is_hit_by_all_its_nodes_and_links() -> None:
    """Links: one for each node, and 64 uplinks for each supernode once there are several."""
    assert [job_links(MACHINE, nodes=nodes) for nodes in (1, 256, 257, 40_960)] == [1, 256, 257 + 128, 40_960 + 10_240]
    hours = 1 / (40_960 / 219_000 + 51_200 / 1e6)
    assert job_mtbf_seconds(MACHINE, nodes=40_960) == pytest.approx(3600 * hours, rel=1e-12)


def test_a_prediction_knows_the_time_with_failures() -> None:
    """As the command has it, if one node writes as often as is best."""
    mapping = load_mapping()
    cost = checkpoint_cost(MACHINE, size=checkpoint_bytes(FACTS, mapping), nodes=40_960, striping=STRIPING)
    whole = complete(MACHINE, nodes=40_960, work_seconds=1e6, cost=cost, runs=2)
    found = expected_to_train(MACHINE, facts=FACTS, mapping=mapping, nodes=40_960, work_seconds=1e6)
    assert found == whole.expected_seconds > 1e6


def test_the_best_interval_divides_the_work() -> None:
    assert equal_interval(33.0, work_seconds=100.0) == pytest.approx(100 / 3)
    assert equal_interval(500.0, work_seconds=100.0) == 100
    assert equal_interval(0.0, work_seconds=100.0) == 100


def test_more_work_takes_longer_and_more_nodes_waste_more() -> None:
    found = [
        complete(
            MACHINE,
            nodes=nodes,
            work_seconds=3600.0 * hours,
            cost=checkpoint_cost(MACHINE, size=10**9, nodes=nodes, striping=STRIPING),
            runs=200,
        )
        for nodes, hours in ((1024, 100), (40_960, 100), (40_960, 200))
    ]
    assert found[0].useful_fraction > found[1].useful_fraction
    assert found[2].expected_seconds == pytest.approx(2 * found[1].expected_seconds, rel=1e-3)
    assert found[1].failures == pytest.approx(found[1].expected_seconds / found[1].mtbf_seconds, rel=0.05)
