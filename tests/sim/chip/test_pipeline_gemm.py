"""The schedules of the GEMM micro-kernel: published counts, linear costs, and the interface that kernels use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.chip.pipeline.convert import conversion_cycles
from sim.chip.pipeline.costs import GemmCosts, gemm_costs
from sim.chip.pipeline.gemm import gemm_step_cycles
from sim.chip.pipeline.instruction import Operation
from sim.chip.pipeline.listing import issue_table, k_step_alone
from sim.chip.pipeline.mesh import MeshRun
from sim.chip.pipeline.roles import ROLES
from sim.chip.pipeline.schedules import SCHEDULES, GemmShape, gemm_program
from sim.chip.pipeline.scoreboard import issue_all
from sim.machine.spec import ProcessorSpec

pytestmark = pytest.mark.timing

ALONE = {
    ("compiler", "fp64"): (26, 25, 26, 25),
    ("compiler-macros", "fp64"): (33, 29, 29, 25),
    ("swdnn-2016", "fp64"): (19, 18, 18, 17),
    ("autotuned-2019", "fp64"): (16, 16, 16, 16),
    ("swdnn-2016", "fp32"): (25, 21, 21, 17),
    ("autotuned-2019", "fp32"): (16, 16, 16, 16),
}
"""k-step of sender-sender, sender-receiver, receiver-sender, receiver-receiver."""
ON_THE_MESH = {
    ("compiler", "fp64"): (26, 55, 12, 39),
    ("compiler-macros", "fp64"): (33, 55, 12, 40),
    ("swdnn-2016", "fp64"): (19, 56, 12, 39),
    ("autotuned-2019", "fp64"): (16, 59, 12, 39),
    ("swdnn-2016", "fp32"): (25, 57, 12, 56),
    ("autotuned-2019", "fp32"): (16, 59, 12, 39),
}
"""k-step, block, row of blocks, mesh step without the residual."""


@pytest.mark.parametrize(("schedule", "dtype"), ALONE)
def test_k_step_of_each_role(schedule: str, dtype: str, processor: ProcessorSpec) -> None:
    found = [
        k_step_alone(cpe=processor.cpe, schedule=SCHEDULES[schedule], role=role, dtype=dtype) for role in ROLES.values()
    ]
    assert found == list(ALONE[schedule, dtype])


@pytest.mark.parametrize(("schedule", "dtype"), ON_THE_MESH)
def test_costs_on_the_mesh(schedule: str, dtype: str, processor: ProcessorSpec) -> None:
    costs = gemm_costs(processor=processor, dtype=dtype, schedule=schedule)
    bare = costs.mesh_step - costs.residual
    assert (costs.k_step, costs.block, costs.row, bare) == pytest.approx(ON_THE_MESH[schedule, dtype], abs=1e-9)
    assert costs.k_step == max(ALONE[schedule, dtype]), "the slowest role holds the mesh"


def test_the_hand_schedule_has_the_published_prologue_and_epilogue(processor: ProcessorSpec) -> None:
    """5 + (K - 1)·17 + 16 cycles (SWDNN17 §VI.B), of a sender that moves no pointers."""
    sends, receives = (ROLES[name] for name in ("sender-sender", "receiver-receiver"))
    schedule = SCHEDULES["swdnn-2016"]
    prologue = schedule.parts(role=sends, dtype="fp64").prologue
    kernel = schedule.parts(role=receives, dtype="fp64")
    program = (*prologue, *kernel.loop * 9, *kernel.epilogue)
    log = issue_all(instructions=program, pipeline=processor.cpe.pipeline)
    assert log[len(prologue)].cycle == 5
    assert log[-1].cycle + 1 == 5 + 9 * 17 + 16


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
def test_every_k_step_multiplies_once_and_moves_every_operand_once(schedule: str, dtype: str) -> None:
    for role in ROLES.values():
        loop = SCHEDULES[schedule].parts(role=role, dtype=dtype).loop
        products = {each.text for each in loop if each.operation is Operation.FLOATING}
        assert products == {f"vmad c{i}{j} += a{i}*b{j}" for i in range(4) for j in range(4)}
        operands = [each.writes[0] for each in loop if each.writes and each.writes[0][0] in "ab"]
        assert sorted(operands) == ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"]


def test_fp32_by_hand_fills_p1_with_25_instructions() -> None:
    loop = SCHEDULES["swdnn-2016"].parts(role=ROLES["sender-sender"], dtype="fp32").loop
    assert sum(each.operation is Operation.SEND for each in loop) == 8, "broadcasts that fp64 does beside its loads"
    assert not any(each.operation is Operation.LOAD_AND_SEND for each in loop)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_operands_fit_the_registers(schedule: str) -> None:
    """Fewer than 30 registers can be used (TACO18 §3.4.2); the stack pointer is not counted."""
    for role in ROLES.values():
        kernel = SCHEDULES[schedule].parts(role=role, dtype="fp64")
        used = {name for each in (*kernel.prologue, *kernel.loop) for name in (*each.reads, *each.writes)}
        assert len(used) < 30


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        pytest.param(3, GemmShape(rows=2, columns=3, k=11, steps=3), marks=pytest.mark.slow),
        (4, GemmShape(rows=1, columns=2, k=5, steps=4)),
    ],
)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_costs_of_two_by_two_cpes_hold_for_larger_meshes_and_parts(
    schedule: str, size: int, shape: GemmShape, processor: ProcessorSpec
) -> None:
    costs = gemm_costs(processor=processor, dtype="fp64", schedule=schedule)
    assert run_cycles(processor, schedule, shape, size=size) == linear(costs, shape)


@pytest.mark.slow
def test_costs_of_two_by_two_cpes_hold_for_the_whole_mesh(processor: ProcessorSpec) -> None:
    costs = gemm_costs(processor=processor, dtype="fp64", schedule="autotuned-2019")
    shape = GemmShape(rows=2, columns=2, k=9, steps=8)
    assert run_cycles(processor, "autotuned-2019", shape, size=8) == linear(costs, shape)


def run_cycles(processor: ProcessorSpec, schedule: str, shape: GemmShape, *, size: int) -> int:
    program = gemm_program(schedule=SCHEDULES[schedule], dtype="fp64", shape=shape)
    return MeshRun(size=size, program=program, pipeline=processor.cpe.pipeline, mesh=processor.mesh).run()


def linear(costs: GemmCosts, shape: GemmShape) -> float:
    block = costs.block + shape.k * costs.k_step
    step = costs.mesh_step - costs.residual + shape.rows * (costs.row + shape.columns * block)
    return pytest.approx(shape.steps * step, abs=1e-6)  # type: ignore[no-any-return]


@pytest.mark.parametrize("latency", [2, 10, 11, 40])
def test_a_mesh_step_waits_for_two_latencies(latency: int, processor: ProcessorSpec) -> None:
    base = gemm_costs(processor=processor, dtype="fp64", schedule="autotuned-2019")
    slower = replace(processor, mesh=replace(processor.mesh, latency_cycles=latency))
    other = gemm_costs(processor=slower, dtype="fp64", schedule="autotuned-2019")
    assert other.mesh_step - other.latency == pytest.approx(base.mesh_step - base.latency)
    assert (other.k_step, other.block, other.row) == (base.k_step, base.block, base.row)


@pytest.mark.parametrize("entries", [1, 2, 3])
def test_shallow_fifos_do_not_slow_the_k_step(entries: int, processor: ProcessorSpec) -> None:
    shallow = replace(processor, mesh=replace(processor.mesh, fifo_entries=entries))
    assert gemm_costs(processor=shallow, dtype="fp64", schedule="autotuned-2019").k_step == 16


def test_slower_loads_and_arithmetic_show(processor: ProcessorSpec) -> None:
    slow_load = replace(processor.cpe.pipeline, vector_load=5)
    slow_floating = replace(processor.cpe.pipeline, floating=17)
    for spec, schedule, k_step in ((slow_load, "compiler", 27), (slow_floating, "autotuned-2019", 17)):
        slow = replace(processor, cpe=replace(processor.cpe, pipeline=spec))
        assert gemm_costs(processor=slow, dtype="fp64", schedule=schedule).k_step == k_step


def step(
    processor: ProcessorSpec, *, dtype: str = "fp64", m: int = 16, n: int = 4, k: int = 1, schedule: str | None = None
) -> float:
    if schedule is None:
        return gemm_step_cycles(processor=processor, dtype=dtype, m=m, n=n, k=k)
    return gemm_step_cycles(processor=processor, dtype=dtype, m=m, n=n, k=k, schedule=schedule)


def test_step_cycles_are_the_costs_without_latencies(processor: ProcessorSpec) -> None:
    mesh_step = 17 + processor.cpe.pipeline.gemm_mesh_step_residual
    assert step(processor) == pytest.approx(mesh_step + 12 + 59 + 16)
    assert step(processor, m=32, n=8, k=10) == pytest.approx(mesh_step + 2 * 12 + 4 * (59 + 160))
    assert step(processor, m=4, n=64, k=3) == step(processor, m=64, n=4, k=3), "the vectors lie along the better axis"
    assert step(processor, k=10, schedule="swdnn-2016") - step(processor, k=9, schedule="swdnn-2016") == pytest.approx(
        19
    )
    with pytest.raises(KeyError):
        step(processor, schedule="swdnn-2015")


def test_fp32_operands_are_converted_once_for_all_mesh_steps(processor: ProcessorSpec) -> None:
    cpe = processor.cpe
    assert conversion_cycles(cpe=cpe, elements=1) == 14
    assert conversion_cycles(cpe=cpe, elements=5) == 70
    extra = step(processor, dtype="fp32", m=64, n=32, k=16) - step(processor, m=64, n=32, k=16)
    assert extra == pytest.approx((64 + 32) * 16 * 14 / 8)
    two, three = (step(processor, dtype="fp32", k=k, schedule="swdnn-2016") for k in (2, 3))
    assert three - two == pytest.approx(25), "by hand nothing is converted"


@pytest.mark.parametrize("part", ["loop", "block", "step"])
def test_issue_tables_have_every_cycle(part: str, processor: ProcessorSpec) -> None:
    for name, role in ROLES.items():
        rows = issue_table(processor=processor, schedule=SCHEDULES["swdnn-2016"], role=role, dtype="fp64", part=part)
        assert [row.cycle for row in rows] == list(range(len(rows)))
        if part == "loop":
            assert len(rows) == 19, name
            assert sum(row.p0 is not None for row in rows) == 16
