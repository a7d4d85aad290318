"""Loops without register blocking: what a compiler makes of them takes what the scoreboard says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.chip.pipeline.scoreboard import issue_all
from sim.chip.pipeline.unblocked import Form, unblocked_cycles, unblocked_loop
from sim.machine.spec import ProcessorSpec

FORMS: list[tuple[Form, bool]] = [("columns", False), ("columns", True), ("dot", False), ("dot", True)]


@pytest.mark.parametrize(("form", "vectorised"), FORMS)
def test_the_closed_form_is_the_scoreboard(form: Form, vectorised: bool, processor: ProcessorSpec) -> None:
    cpe = processor.cpe
    loop = unblocked_loop(form=form, vectorised=vectorised, lanes=cpe.vector_lanes)
    k, outputs = 9 * loop.depth, 5
    block = (*loop.head, *loop.body * 9, *loop.tail)
    issues = issue_all(instructions=block * (outputs + 1), pipeline=cpe.pipeline)
    plain = issues[outputs * len(block)].cycle - issues[0].cycle
    found = unblocked_cycles(cpe=cpe, form=form, vectorised=vectorised, m=1, n=outputs * loop.outputs, k=k)
    assert found == pytest.approx(plain, abs=2)
    assert unblocked_cycles(cpe=cpe, form=form, vectorised=vectorised, m=6, n=5, k=7) == 6 * unblocked_cycles(
        cpe=cpe, form=form, vectorised=vectorised, m=1, n=5, k=7
    )


def test_vectors_help_by_less_than_their_lanes(processor: ProcessorSpec) -> None:
    """A vector waits for its operands as long as a scalar does, and has nothing else to do meanwhile."""
    scalar, vector = (
        unblocked_cycles(cpe=processor.cpe, form="columns", vectorised=each, m=1, n=4, k=1000) / 1000
        for each in (False, True)
    )
    assert scalar == pytest.approx(16, abs=0.1)
    assert vector == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize(("form", "vectorised"), FORMS)
def test_longer_latencies_are_slower(form: Form, vectorised: bool, processor: ProcessorSpec) -> None:
    pipeline = replace(processor.cpe.pipeline, load=9, vector_load=9)
    slow = replace(processor.cpe, pipeline=pipeline)
    fast, longer = (
        unblocked_cycles(cpe=cpe, form=form, vectorised=vectorised, m=2, n=8, k=64) for cpe in (processor.cpe, slow)
    )
    assert longer > fast
