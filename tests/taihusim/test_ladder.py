"""The teaching ladder: mechanisms switched on one after another bring what was published, in the published order."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from sim.machine.load import load_machine
from sim.machine.spec import MachineSpec
from taihusim.validation.inputs import Unpredictable
from taihusim.validation.ladder import RUNGS, ladder
from taihusim.validation.table import SHIPPED, read_table


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("sunway_taihulight")


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.validation
def test_every_rung_is_within_a_fifth_and_in_order(machine: MachineSpec) -> None:
    rows = read_table(SHIPPED / "conv_optimisation_ladder_fp64.csv").rows
    found = [ladder(row.inputs, machine) for row in rows]
    assert [row.inputs["step"] for row in rows] == list(RUNGS)
    for row, value in zip(rows, found, strict=True):
        assert value == pytest.approx(row.measured, rel=0.2), row.inputs["step"]
    assert found == sorted(found)


def test_a_rung_differs_from_the_one_below_by_one_mechanism() -> None:
    rungs = [vars(rung) for rung in RUNGS.values()]
    for below, above in pairwise(rungs):
        changed = {name for name in above if above[name] != below[name]}
        # which micro-kernel means nothing before there are register blocks
        assert len(changed - ({"schedule"} if not below["register_blocked"] else set())) == 1


@pytest.mark.slow
@pytest.mark.timing
def test_what_holds_a_rung_is_what_moves_it(machine: MachineSpec) -> None:
    """Twice the memory rate helps where DMA is waited for, and not where two buffers hide it."""
    processor = machine.processor
    faster = replace(processor, dma=replace(processor.dma, line_seconds=processor.dma.line_seconds / 2))
    gains = {}
    for step in ("basic Alg.2 1 CG", "+vectorisation", "+LDM"):
        rung = RUNGS[step]
        gains[step] = rung.gflops(faster, rows=2) / rung.gflops(processor, rows=2)
    assert gains["+vectorisation"] > gains["basic Alg.2 1 CG"] > gains["+LDM"]
    assert gains["+LDM"] == pytest.approx(1, abs=0.03)


def test_an_unknown_rung_is_not_predicted(machine: MachineSpec) -> None:
    with pytest.raises(Unpredictable, match=r"'\+magic' is none of basic Alg\.2"):
        ladder({"step": "+magic"}, machine)
