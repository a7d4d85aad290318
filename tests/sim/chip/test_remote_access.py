"""Vectors of other widths by number format, and products whose operands come by remote access."""

import pytest

from sim.chip.pipeline.costs import gemm_costs
from sim.chip.pipeline.gemm import gemm_step_cycles
from sim.chip.pipeline.listing import k_step_alone
from sim.chip.pipeline.roles import ROLES
from sim.chip.pipeline.schedules import SCHEDULES
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from sim.problems import BadInput

pytestmark = pytest.mark.timing


def oceanlight(*settings: str) -> ProcessorSpec:
    return load_machine("sunway_oceanlight", [f"processor.{each}" for each in settings]).processor


def test_each_format_has_its_vectors_and_its_peak() -> None:
    old, new = load_machine("sunway_taihulight").processor, oceanlight()
    assert old.computing_in("fp32") is old
    assert old.peak_flops_of("fp32") == old.peak_flops
    single = new.computing_in("fp32")
    assert (new.cpe.vector_lanes, single.cpe.vector_lanes) == (8, 16)
    assert single.computing_in("fp32") is single
    assert single.computing_in("fp64") == new
    assert single.core_group_cpe_peak_flops == 2 * new.core_group_cpe_peak_flops
    assert 6 * single.core_group_cpe_peak_flops == pytest.approx(27.6e12, rel=0.002)


@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_with_remote_access_all_cpes_do_the_same_and_nothing_is_sent(schedule: str, dtype: str) -> None:
    processor, chosen = oceanlight(), SCHEDULES[schedule]
    lists = {chosen.parts(role=role, dtype=dtype, local=True).loop for role in ROLES.values()}
    assert len(lists) == 1
    assert all(each.bus is None for each in lists.pop())
    alone = k_step_alone(cpe=processor.cpe, schedule=chosen, role=ROLES["sender-sender"], dtype=dtype, local=True)
    assert gemm_costs(processor=processor, dtype=dtype, schedule=schedule).k_step == alone
    assert not chosen.converts(dtype, processor.mesh)


def test_a_step_takes_the_longer_of_its_product_and_of_the_copies_for_the_next() -> None:
    processor = oceanlight()
    costs = gemm_costs(processor=processor, dtype="fp32", schedule="autotuned-2019")
    assert (costs.k_step, costs.latency, costs.residual) == (16, 0, 0)
    m, n, k = 64, 32, 64  # one block of four vectors of 16 along m, eight of four scalars along n
    product = costs.mesh_step + costs.row + 8 * (costs.block + k * 16)
    copied = 100 + k * (m + n) * 4 / 16

    def step(processor: ProcessorSpec) -> float:
        return gemm_step_cycles(processor=processor, dtype="fp32", m=m, n=n, k=k)

    assert product > copied
    assert step(processor) == product + copied / 8  # the first copies of eight steps hide under nothing
    assert step(oceanlight("mesh.transfer=8 B")) == product + (100 + k * (m + n) * 4 / 8) / 8


def test_operands_that_do_not_fit_the_receive_buffer_come_in_pieces() -> None:
    whole, halves = oceanlight(), oceanlight("mesh.remote.buffer=24 KiB")
    costs = gemm_costs(processor=whole, dtype="fp32", schedule="autotuned-2019")
    m, n, k = 64, 32, 64
    assert 24 * 1024 // 2 // ((m + n) * 4) == 32  # k-steps in half of the buffer

    def product(depth: int) -> float:
        return costs.mesh_step + costs.row + 8 * (costs.block + depth * 16)

    copied = 100 + 32 * (m + n) * 4 / 16
    expected = 2 * product(32) + 2 * 30 + copied / 8
    assert gemm_step_cycles(processor=halves, dtype="fp32", m=m, n=n, k=k) == expected
    assert halves.cpe.ldm_bytes - whole.cpe.ldm_bytes == 40 * 1024


def test_copies_that_take_longer_than_the_product_bound_the_step() -> None:
    processor = oceanlight("mesh.transfer=8 B", "mesh.remote.startup=20000 cycles")
    copied = 20000 + 64 * 96 * 4 / 8
    assert gemm_step_cycles(processor=processor, dtype="fp32", m=64, n=32, k=64) == copied * (1 + 1 / 8)


def test_the_receive_buffer_leaves_room_for_programs() -> None:
    with pytest.raises(BadInput, match=r"processor\.mesh\.remote\.buffer: expected less than processor\.cpe\.ldm"):
        oceanlight("mesh.remote.buffer=256 KiB")
