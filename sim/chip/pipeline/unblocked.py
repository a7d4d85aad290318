"""The inner loops of a matrix product without register blocking, as a compiler makes them from plain C.

What a CPE does before its kernel is written for its registers: every multiply-add loads both of its operands from the
LDM, and only one vector of outputs (or one output) stays in registers over the k-loop. The lists are constructed; the
order is the one that the compiler keeps in the published k-step of 26 cycles: the order of the source, nothing moved
across statements, pointers, comparison and branch behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from sim.chip.pipeline.instruction import (
    Instruction,
    Operation,
    branch,
    integer,
    load,
    multiply_add,
    store,
    vector_load,
)
from sim.chip.pipeline.scoreboard import issue_all
from sim.machine.spec import CpeSpec, PipelineSpec

Form: TypeAlias = Literal["columns", "dot"]
"""``columns``: neighbouring outputs have neighbouring second operands. ``dot``: both operands run along k."""

_MOVE = (
    integer("add pa", reads=("pa",), writes="pa"),
    integer("add pb", reads=("pb",), writes="pb"),
    integer("cmp pa, end", reads=("pa", "end"), writes="test"),
    branch("bne loop", reads=("test",)),
)
_K = (4, 6)
"""Passes of the loop between which one pass is measured."""


@dataclass(frozen=True, kw_only=True)
class Loop:
    """``head`` and ``tail`` once for ``outputs`` outputs, ``body`` once for ``depth`` products of each."""

    head: tuple[Instruction, ...]
    body: tuple[Instruction, ...]
    tail: tuple[Instruction, ...]
    outputs: int
    depth: int


def unblocked_loop(*, form: Form, vectorised: bool, lanes: int) -> Loop:
    """The loop of a form. Scalar code is unrolled by as many as a vector has lanes."""
    head: tuple[Instruction, ...]
    body: tuple[Instruction, ...]
    tail: tuple[Instruction, ...]
    begin = (
        integer("mov pa", reads=("row",), writes="pa"),
        integer("mov pb", reads=("column",), writes="pb"),
        integer("add end", reads=("row",), writes="end"),
    )
    after = (
        integer("add pc", reads=("pc",), writes="pc"),
        integer("cmp pc, last", reads=("pc",), writes="test"),
        branch("bne outputs", reads=("test",)),
    )
    if form == "columns":
        outputs, depth = lanes, 1
        if vectorised:
            head = (*begin, vector_load("vldd c", writes="c", address="pc"))
            body = _products(lanes=1, vectorised=True)
            tail = (store("vstd c", reads="c", address="pc"), *after)
        else:
            head = (*begin, *(load(f"ldd c{i}", writes=f"c{i}", address="pc") for i in range(lanes)))
            body = _products(lanes=lanes, vectorised=False)
            tail = (*(store(f"std c{i}", reads=f"c{i}", address="pc") for i in range(lanes)), *after)
    else:
        outputs, depth = 1, lanes
        head = (*begin, load("ldd c0", writes="c0", address="pc"))
        tail = (store("std c0", reads="c0", address="pc"), *after)
        if vectorised:
            body = (
                vector_load("vldd a", writes="a", address="pa"),
                vector_load("vldd b", writes="b", address="pb"),
                multiply_add("c", "a", "b"),
            )
            tail = (*_horizontal_sum(lanes), *tail)
        else:
            body = tuple(
                each
                for i in range(lanes)
                for each in (
                    load(f"ldd a{i}", writes=f"a{i}", address="pa"),
                    load(f"ldd b{i}", writes=f"b{i}", address="pb"),
                    multiply_add("c0", f"a{i}", f"b{i}"),
                )
            )
    return Loop(head=head, body=(*body, *_MOVE), tail=tail, outputs=outputs, depth=depth)


def unblocked_cycles(*, cpe: CpeSpec, form: Form, vectorised: bool, m: int, n: int, k: int) -> float:
    """Cycles of a CPE's ``C (m × n) += A (m × k)·B (k × n)`` in its LDM."""
    loop = unblocked_loop(form=form, vectorised=vectorised, lanes=cpe.vector_lanes)
    once, each = _costs(cpe.pipeline, form, vectorised, cpe.vector_lanes)
    return m * -(-n // loop.outputs) * (once + -(-k // loop.depth) * each)


@lru_cache(maxsize=64)
def _costs(pipeline: PipelineSpec, form: Form, vectorised: bool, lanes: int) -> tuple[float, float]:
    """Cycles of the head and tail together and of one pass of the body."""
    loop = unblocked_loop(form=form, vectorised=vectorised, lanes=lanes)

    def run(passes: int) -> int:
        """From one set of outputs to the next."""
        block = (*loop.head, *loop.body * passes, *loop.tail)
        issues = issue_all(instructions=block * 3, pipeline=pipeline)
        return issues[2 * len(block)].cycle - issues[len(block)].cycle

    few, many = _K
    least = run(few)
    each = (run(many) - least) / (many - few)
    return least - few * each, each


def _products(*, lanes: int, vectorised: bool) -> tuple[Instruction, ...]:
    """``c += a·b`` for neighbouring b: a is loaded once (and copied to all lanes), each b where it is used."""
    if vectorised:
        return (
            vector_load("ldde a", writes="a", address="pa"),
            vector_load("vldd b", writes="b", address="pb"),
            multiply_add("c", "a", "b"),
        )
    body: list[Instruction] = [load("ldd a", writes="a", address="pa")]
    for i in range(lanes):
        body.append(load(f"ldd b{i}", writes=f"b{i}", address="pb"))
        body.append(multiply_add(f"c{i}", "a", f"b{i}"))
    return tuple(body)


def _horizontal_sum(lanes: int) -> tuple[Instruction, ...]:
    """Add the lanes of c to c0: halves onto one another, then to the output."""
    steps: list[Instruction] = []
    while lanes > 1:
        lanes //= 2
        steps.append(Instruction(text="vshf half", operation=Operation.SHUFFLE, reads=("c",), writes=("half",)))
        steps.append(Instruction(text="vaddd c", operation=Operation.FLOATING, reads=("c", "half"), writes=("c",)))
    steps.append(Instruction(text="addd c0", operation=Operation.FLOATING, reads=("c0", "c"), writes=("c0",)))
    return tuple(steps)
