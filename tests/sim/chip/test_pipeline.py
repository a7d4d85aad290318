"""The scoreboard's issue rules: each proved tight, and hand-made programs with their exact logs."""

from __future__ import annotations

import pytest

from sim.chip.pipeline.instruction import (
    Instruction,
    Operation,
    Pipe,
    branch,
    integer,
    load,
    load_and_send,
    multiply_add,
    receive,
    send,
    store,
    vector_load,
)
from sim.chip.pipeline.scoreboard import Issue, Reason, Scoreboard, Stall, issue_all
from sim.machine.spec import ProcessorSpec

pytestmark = pytest.mark.timing


def arithmetic(operation: Operation, *, writes: str, reads: tuple[str, ...] = ()) -> Instruction:
    return Instruction(text=operation.value, operation=operation, reads=reads, writes=(writes,))


FREE_INT = integer("add z", reads=("z",), writes="z")
FREE_FLOAT = arithmetic(Operation.FLOATING, writes="f")
FREE_LOAD = load("ldl g", writes="g", address="sp")
DIVISION = arithmetic(Operation.DIVIDE, writes="d")

RULES: dict[str, tuple[tuple[Instruction, ...], Instruction, int, Reason, str]] = {
    # what came before, the instruction, its cycle, why not a cycle earlier
    "RAW on an integer": ((integer("add x", writes="x"),), store("stl x", reads="x", address="sp"), 1, Reason.RAW, "x"),
    "RAW on an integer multiplication": (
        (arithmetic(Operation.INTEGER_MULTIPLY, writes="x"),), integer("add y", reads=("x",), writes="y"),
        5, Reason.RAW, "x",
    ),
    "RAW on a multiply-add": (
        (multiply_add("c", "a", "b"),), multiply_add("c", "a", "b"), 7, Reason.RAW, "c",
    ),
    "RAW on a division": ((DIVISION,), store("stl d", reads="d", address="sp"), 34, Reason.RAW, "d"),
    "RAW on a load": ((FREE_LOAD,), integer("add y", reads=("g",), writes="y"), 3, Reason.RAW, "g"),
    "RAW on a vector load": (
        (vector_load("vldd a", writes="a", address="sp"),), multiply_add("c", "a", "b"), 4, Reason.RAW, "a",
    ),
    "RAW on a load and broadcast": (
        (load_and_send("vldr a", writes="a", address="sp", bus="row"),), multiply_add("c", "a", "b"),
        4, Reason.RAW, "a",
    ),
    "RAW on a received word": (
        (receive("getr a", writes="a", bus="row"),), multiply_add("c", "a", "b"), 1, Reason.RAW, "a",
    ),
    "RAW on a shuffle": (
        (arithmetic(Operation.SHUFFLE, writes="x"),), send("putr x", reads="x", bus="row"), 1, Reason.RAW, "x",
    ),
    "WAW": ((FREE_FLOAT,), load("ldl f", writes="f", address="sp"), 7, Reason.WAW, "f"),
    "one instruction per cycle in P0": ((FREE_FLOAT,), multiply_add("c", "a", "b"), 1, Reason.PIPE, "P0"),
    "one instruction per cycle in P1": ((FREE_LOAD,), store("stl x", reads="x", address="sp"), 1, Reason.PIPE, "P1"),
    "a division keeps P0": ((DIVISION,), FREE_FLOAT, 34, Reason.PIPE, "P0"),
    "an integer competes for P1": ((FREE_LOAD,), FREE_INT, 1, Reason.PIPE, "P1"),
    "an older integer takes P1": ((FREE_INT,), FREE_LOAD, 1, Reason.PIPE, "P1"),
    "a branch ends its cycle": ((branch("br", reads=()),), FREE_FLOAT, 1, Reason.BRANCH, "br"),
    "the older blocks the younger": (
        (FREE_LOAD, store("stl g", reads="g", address="sp")), FREE_FLOAT, 3, Reason.OLDER, "stl g",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_tight(rule: str, processor: ProcessorSpec) -> None:
    before, instruction, cycle, reason, subject = RULES[rule]
    issue = issue_all(instructions=(*before, instruction), pipeline=processor.cpe.pipeline)[-1]
    assert issue.cycle == cycle
    assert issue.stalls, "it could not issue a cycle earlier"
    assert (issue.stalls[-1].reason, issue.stalls[-1].subject) == (reason, subject)
    assert sum(stall.cycles for stall in issue.stalls) == issue.cycle - issue.entered


PAIRS: dict[str, tuple[Instruction, Instruction, Pipe, Pipe]] = {
    "P0 and P1": (FREE_FLOAT, FREE_LOAD, Pipe.P0, Pipe.P1),
    "P1 and P0": (FREE_LOAD, FREE_FLOAT, Pipe.P1, Pipe.P0),
    "an integer beside an older P0 instruction": (FREE_FLOAT, FREE_INT, Pipe.P0, Pipe.P1),
    "an older integer leaves P0 free": (FREE_INT, FREE_FLOAT, Pipe.P1, Pipe.P0),
    "of two integers the older takes P1": (FREE_INT, integer("add y", writes="y"), Pipe.P1, Pipe.P0),
    "a branch beside an older P0 instruction": (FREE_FLOAT, branch("br", reads=()), Pipe.P0, Pipe.P1),
    "a younger write beside an older read": (store("stl f", reads="f", address="sp"), FREE_FLOAT, Pipe.P1, Pipe.P0),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_what_issues_in_the_same_cycle(pair: str, processor: ProcessorSpec) -> None:
    older, younger, one, other = PAIRS[pair]
    log = issue_all(instructions=(older, younger), pipeline=processor.cpe.pipeline)
    assert [(issue.cycle, issue.pipe, issue.stalls) for issue in log] == [(0, one, ()), (0, other, ())]


def test_never_more_than_two_in_a_cycle(processor: ProcessorSpec) -> None:
    integers = tuple(integer(f"add x{n}", writes=f"x{n}") for n in range(6))
    log = issue_all(instructions=integers, pipeline=processor.cpe.pipeline)
    assert [issue.cycle for issue in log] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        (receive("getr a", writes="a", bus="row"), Reason.FIFO_EMPTY),
        (send("putc a", reads="a", bus="column"), Reason.FIFO_FULL),
        (load_and_send("vldr a", writes="a", address="sp", bus="row"), Reason.FIFO_FULL),
    ],
)
def test_a_fifo_holds_its_instruction(instruction: Instruction, reason: Reason, processor: ProcessorSpec) -> None:
    scoreboard = Scoreboard(pipeline=processor.cpe.pipeline)
    issue = scoreboard.issue(instruction, fifo=9)
    assert issue is not None
    assert issue.cycle == 9
    assert issue.stalls == (Stall(reason=reason, subject=str(instruction.bus), cycles=9),)


def test_exact_log_of_a_loop_by_hand(processor: ProcessorSpec) -> None:
    program = (
        vector_load("vldd a", writes="a", address="p"),
        vector_load("vldd b", writes="b", address="p"),
        multiply_add("c", "a", "b"),
        integer("add p", reads=("p",), writes="p"),
        integer("cmp p", reads=("p",), writes="t"),
        branch("bne", reads=("t",)),
        store("vstd c", reads="c", address="q"),
    )
    log = issue_all(instructions=program, pipeline=processor.cpe.pipeline)
    assert [_line(issue) for issue in log] == [
        "0 P1 vldd a",
        "1 P1 vldd b | pipe busy (P1) 1",
        "5 P0 vmad c += a*b | RAW (a) 3; RAW (b) 1",
        "5 P1 add p | older blocked (vmad c += a*b) 3",
        "6 P1 cmp p",
        "7 P1 bne | RAW (t) 1",
        "12 P1 vstd c | behind a branch (bne) 1; RAW (c) 4",
    ]


def test_stalls_tile_the_waiting(processor: ProcessorSpec) -> None:
    program = tuple(rule[0][0] for rule in RULES.values()) + tuple(rule[1] for rule in RULES.values())
    log = issue_all(instructions=program, pipeline=processor.cpe.pipeline)
    assert all(sum(stall.cycles for stall in issue.stalls) == issue.cycle - issue.entered for issue in log)
    cycles = [issue.cycle for issue in log]
    assert cycles == sorted(cycles)


def test_a_run_without_record_has_the_same_cycles(processor: ProcessorSpec) -> None:
    program = tuple(instruction for rule in RULES.values() for instruction in (*rule[0], rule[1]))
    log = issue_all(instructions=program, pipeline=processor.cpe.pipeline)
    bare = Scoreboard(pipeline=processor.cpe.pipeline, record=False)
    for issue in log:
        assert bare.issue(issue.instruction) is None
        assert bare.cycle == issue.cycle


def _line(issue: Issue) -> str:
    stalls = "; ".join(str(stall) for stall in issue.stalls)
    return f"{issue.cycle} {issue.pipe.value} {issue.instruction.text}{f' | {stalls}' if stalls else ''}"
