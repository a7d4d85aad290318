"""The integer micro-kernel: its cycles come from its instruction list, and the list does the right work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.chip.pipeline.costs import gemm_costs
from sim.chip.pipeline.gemm import gemm_step_cycles
from sim.chip.pipeline.instruction import Operation
from sim.chip.pipeline.integer import widening_cycles
from sim.chip.pipeline.listing import issue_table, k_step_alone
from sim.chip.pipeline.mesh import MeshRun
from sim.chip.pipeline.roles import ROLES
from sim.chip.pipeline.schedules import GemmShape, Schedule, gemm_program, schedule_for
from sim.machine.spec import ProcessorSpec

pytestmark = pytest.mark.timing


def with_instructions(processor: ProcessorSpec, count: int) -> ProcessorSpec:
    """The processor with another number of instructions per vector multiply-add."""
    fixed_point = replace(processor.cpe.fixed_point, multiply_add_instructions=count)
    return replace(processor, cpe=replace(processor.cpe, fixed_point=fixed_point))


def schedule(processor: ProcessorSpec) -> Schedule:
    return schedule_for("autotuned-2019", dtype="int16", fixed_point=processor.cpe.fixed_point)


@pytest.mark.parametrize(("instructions", "cycles"), [(1, 20), (2, 24), (3, 36)])
def test_the_k_step_follows_from_the_instructions(instructions: int, cycles: int, processor: ProcessorSpec) -> None:
    """12 vector products; fused ones leave too little time for the 20 instructions of P1 beside them."""
    machine = with_instructions(processor, instructions)
    alone = [
        k_step_alone(cpe=machine.cpe, schedule=schedule(machine), role=role, dtype="int16") for role in ROLES.values()
    ]
    costs = gemm_costs(processor=machine, dtype="int16", schedule="autotuned-2019")
    assert costs.k_step == max(alone) == cycles


@pytest.mark.parametrize("instructions", [1, 2, 3])
def test_every_sum_gets_every_product_once(instructions: int, processor: ProcessorSpec) -> None:
    """Executed symbolically: after k steps c_ij is the sum of a_i(t) b_j(t) over all t, whatever lies in registers."""
    machine = with_instructions(processor, instructions)
    for role in ROLES.values():
        kernel = schedule(machine).parts(role=role, dtype="int16")
        steps = 5
        fetched: dict[str, int] = {}
        values: dict[str, object] = {}
        sums: dict[str, list[object]] = {f"c{i}{j}": [] for i in range(4) for j in range(3)}
        for each in (*kernel.prologue, *kernel.loop * (steps - 1), *kernel.epilogue):
            if each.operation in (Operation.VECTOR_LOAD, Operation.RECEIVE):
                register = each.writes[0]
                values[register] = (register, fetched.get(register, 0))
                fetched[register] = fetched.get(register, 0) + 1
            elif each.text.startswith("vclr"):
                values[each.writes[0]] = None
            elif each.operation is Operation.INTEGER_MULTIPLY:
                product = (values[each.reads[0]], values[each.reads[1]])
                if each.writes[0] in sums:
                    sums[each.writes[0]].append(product)
                else:
                    values[each.writes[0]] = product
            elif each.text.startswith("vaddw") and values[each.reads[0]] is not None:
                sums[each.writes[0]].append(values[each.reads[0]])
        for name, found in sums.items():
            expected = [((f"a{name[1]}", step), (f"b{name[2]}", step)) for step in range(steps)]
            assert sorted(found, key=str) == sorted(expected, key=str), (role.name, name)


def test_operands_fit_the_registers_and_senders_send_each_once(processor: ProcessorSpec) -> None:
    for role in ROLES.values():
        kernel = schedule(processor).parts(role=role, dtype="int8")
        used = {name for each in (*kernel.prologue, *kernel.loop) for name in (*each.reads, *each.writes)}
        assert len(used) < 30
        sent = [each.reads[0] for each in kernel.loop if each.operation is Operation.SEND]
        wanted = ["a0", "a1", "a2", "a3"] * role.row_sender + ["b0", "b1", "b2"] * role.column_sender
        assert sorted(sent) == sorted(wanted)
        whole = [each.reads[0] for each in (*kernel.prologue, *kernel.loop, *kernel.epilogue)
                 if each.operation is Operation.SEND]  # fmt: skip
        assert sorted(whole) == sorted(wanted * 2), "two k-steps"


def test_costs_of_two_by_two_cpes_hold_for_larger_meshes_and_parts(processor: ProcessorSpec) -> None:
    costs = gemm_costs(processor=processor, dtype="int16", schedule="autotuned-2019")
    shape = GemmShape(rows=2, columns=3, k=11, steps=3)
    program = gemm_program(schedule=schedule(processor), dtype="int16", shape=shape)
    found = MeshRun(size=3, program=program, pipeline=processor.cpe.pipeline, mesh=processor.mesh).run()
    block = costs.block + shape.k * costs.k_step
    step = costs.mesh_step - costs.residual + shape.rows * (costs.row + shape.columns * block)
    assert found == pytest.approx(shape.steps * step, abs=1e-6)


def test_integers_multiply_as_fast_as_doubles_but_by_other_blocks(processor: ProcessorSpec) -> None:
    def cycles(dtype: str, *, m: int, n: int, k: int) -> float:
        return gemm_step_cycles(processor=processor, dtype=dtype, m=m, n=n, k=k)

    size = {"m": 96, "n": 96}
    rate = {dtype: cycles(dtype, **size, k=9) - cycles(dtype, **size, k=8) for dtype in ("fp64", "int16", "int8")}
    assert rate["int16"] == rate["int8"] == rate["fp64"] == 96 * 96 / 4
    one, more = (cycles("int32", m=32, n=n, k=1) for n in (3, 4))
    assert more > one == cycles("int32", m=32, n=1, k=1), "a block has 3 columns"
    with pytest.raises(KeyError):
        gemm_step_cycles(processor=processor, dtype="int16", m=1, n=1, k=1, schedule="swdnn-2015")


def test_widening(processor: ProcessorSpec) -> None:
    """One loaded vector: 16 numbers of 16 bits in 12 cycles, 32 of 8 bits in 16."""
    assert widening_cycles(cpe=processor.cpe, elements=16, bits=16) == 12
    assert widening_cycles(cpe=processor.cpe, elements=17, bits=16) == 24
    assert widening_cycles(cpe=processor.cpe, elements=32, bits=8) == 16
    free = replace(processor.cpe, fixed_point=replace(processor.cpe.fixed_point, int16_widen_instructions=0))
    assert widening_cycles(cpe=free, elements=16, bits=16) < 12


def test_the_issue_table_shows_a_k_step(processor: ProcessorSpec) -> None:
    rows = issue_table(
        processor=processor, schedule=schedule(processor), role=ROLES["sender-sender"], dtype="int16", part="loop"
    )
    assert len(rows) == 24
    assert all(row.p0 is not None for row in rows)
