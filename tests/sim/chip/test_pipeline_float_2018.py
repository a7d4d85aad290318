"""The fp32 micro-kernel of 2018: what its instructions are, and what they cost."""

from __future__ import annotations

from collections import Counter

import pytest

from sim.chip.pipeline.costs import gemm_costs
from sim.chip.pipeline.listing import k_step_alone
from sim.chip.pipeline.roles import ROLES
from sim.chip.pipeline.schedules import SCHEDULES
from sim.machine.spec import ProcessorSpec

pytestmark = pytest.mark.timing

FLOAT = SCHEDULES["swcaffe-2018"]


def test_a_sender_on_both_buses_has_the_published_instructions() -> None:
    """16 multiply-adds and four each of vlds, putr, ldse and putc (R-swCaffe gemm_float.S)."""
    loop = FLOAT.parts(role=ROLES["sender-sender"], dtype="fp32").loop
    names = Counter(each.text.split()[0] for each in loop)
    assert {name: names[name] for name in ("vmad", "vlds", "putr", "ldse", "putc")} == {
        "vmad": 16, "vlds": 4, "putr": 4, "ldse": 4, "putc": 4,
    }  # fmt: skip


def test_a_receiver_gets_all_operands_from_the_buses() -> None:
    loop = FLOAT.parts(role=ROLES["receiver-receiver"], dtype="fp32").loop
    names = Counter(each.text.split()[0] for each in loop)
    assert names["getr"] == names["getc"] == 4
    assert not {"vlds", "putr", "ldse", "putc"} & set(names)


def test_puts_come_at_least_a_vector_load_behind_their_load(processor: ProcessorSpec) -> None:
    loop = FLOAT.parts(role=ROLES["sender-sender"], dtype="fp32").loop
    # a pair is issued in each cycle: what stands beside the n-th multiply-add goes in cycle n
    slot = -1
    loaded: dict[str, int] = {}
    for each in loop:
        if each.text.startswith("vmad"):
            slot += 1
        elif each.text.startswith(("vlds", "ldse")):
            loaded[each.writes[0]] = slot
        elif each.text.startswith(("putr", "putc")) and each.reads[0] in loaded:
            assert slot - loaded[each.reads[0]] >= processor.cpe.pipeline.vector_load


def test_the_slowest_role_takes_twenty_cycles(processor: ProcessorSpec) -> None:
    alone = {
        name: k_step_alone(cpe=processor.cpe, schedule=FLOAT, role=role, dtype="fp32") for name, role in ROLES.items()
    }
    assert alone["receiver-receiver"] < max(alone.values()) == alone["sender-sender"] == 20
    on_the_mesh = gemm_costs(processor=processor, dtype="fp32", schedule="swcaffe-2018").k_step
    assert on_the_mesh == 20 < gemm_costs(processor=processor, dtype="fp32", schedule="swdnn-2016").k_step
