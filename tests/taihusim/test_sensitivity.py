"""What would relieve a step: a tenth better each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nnlib.kernels import clock, simulation
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.simulation import simulate
from sim.chip.counters import KernelTiming
from sim.chip.memory import PRIVATE, MemoryUse
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from taihusim.node_programs import training_node
from taihusim.node_steps import NodeSteps
from taihusim.options import Settings
from taihusim.planning import plan_steps
from taihusim.sensitivity import changes, on, sensitivity
from tests.taihusim.tiny import CONVOLUTION, tiny_workload

MACHINE = "sunway_taihulight"
TRIED = (
    *("processor.clock", "processor.mesh.latency", "processor.dma.line_time", "processor.dma.pending"),
    *("processor.cpe.pipeline.divide", "processor.cpe.pipeline.shuffle", "processor.memory.global_"),
)

pytestmark = pytest.mark.timing


def test_times_get_shorter_and_all_else_larger() -> None:
    found = {each.parameter.key: each for each in changes(MACHINE, (), reach="chip", noise=False)}
    assert found["processor.mpe.launch"].by == pytest.approx(-0.1)
    assert found["network.link.node_bandwidth"].by == pytest.approx(0.1)
    assert found["network.topology.links_per_switch"].setting == "network.topology.links_per_switch=3"
    assert found["processor.clock"].by == pytest.approx(0.1)
    assert not {"network.nodes", "storage.arrays", "network.protocol.eager_limit"} & set(found)
    assert "processor.cpe.pipeline.integer" not in found  # one cycle, or none
    assert "noise.compute_jitter" not in found
    assert found["processor.cpe.pipeline.floating"].setting.startswith("processor.cpe.pipeline.floating=6 ")
    assert "processor.cpe.ldm" not in found  # with plans kept it changes nothing
    around = {each.parameter.key for each in changes(MACHINE, (), reach="network", noise=True)}
    assert "processor.clock" not in around
    assert "noise.compute_jitter" in around
    noise = {each.parameter.key: each.by for each in changes(MACHINE, (), reach="network", noise=True)}
    assert noise["noise.compute_jitter"] == pytest.approx(-0.1)
    assert noise["noise.system_period"] == pytest.approx(0.1)


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
    relief = [min(each["change"] for each in row["changes"]) / abs(row["changed_by"]) for row in rows]
    assert relief == sorted(relief)
    assert all(any(changes) for changes in by_key.values())


@pytest.mark.slow
def test_a_chip_that_differs_takes_what_its_kernels_take_there_with_the_plans_they_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels that are not timed again, because they do not depend on a parameter, would not have changed."""
    monkeypatch.setenv("TAIHUSIM_CACHE", "off")
    workload = tiny_workload(tmp_path, layers=CONVOLUTION)

    def rows() -> tuple[NodeSteps, list[dict[str, Any]]]:
        steps = plan_steps(workload=workload, machine=MACHINE, mapping="default", settings=Settings())
        return steps, sensitivity(steps, machine=MACHINE, settings=(), nodes=(1,), reach="chip")

    simulated: list[Kernel] = []

    def counted(kernel: Kernel, **how: Any) -> KernelTiming:
        simulated.append(kernel)
        return simulate(kernel, **how)

    monkeypatch.setattr(simulation, "simulate", counted)
    monkeypatch.setattr("taihusim.sensitivity.CHIP", TRIED)
    steps, found = rows()
    few = len(simulated)
    monkeypatch.setattr(clock, "may_differ", lambda *_, **__: True)
    assert rows()[1] == found
    assert few < 0.7 * (len(simulated) - few)
    by_key = {row["key"]: row for row in found}
    for key in ("processor.clock", "processor.dma.line_time", "processor.mesh.latency"):
        assert all(each["change"] < 0 for each in by_key[key]["changes"])
    # the machine as it is takes exactly what it takes
    assert on(steps, steps.machine, key="processor.clock").training(16) == steps.training(16)
    # by hand: every kernel on the changed chip, its plan that of the chip as it is
    other = load_machine(MACHINE, ["processor.dma.line_time=4.275 ns"])
    monkeypatch.undo()
    by_hand = replace(steps.setup, machine=other, clock=Planned(other.processor, steps.machine.processor), programs={})
    node = training_node(by_hand, samples=16)
    assert by_key["processor.dma.line_time"]["changes"][0]["seconds_per_step"] == pytest.approx(node.seconds, rel=1e-12)


class Planned(clock.KernelClock):
    """Simulates every kernel with the plan of the chip ``plans``."""

    def __init__(self, processor: ProcessorSpec, plans: ProcessorSpec) -> None:
        super().__init__(processor, base=clock.KernelClock(plans))

    def time(self, kernel: Kernel, *, memory: MemoryUse = PRIVATE, limit: int | None = None) -> KernelTiming:
        return simulate(kernel, processor=self.processor, planned=self.planned, memory=memory)
