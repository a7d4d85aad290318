"""The k-steps of a product of integers, and what makes 32-bit operands of narrower ones.

No multiply-add of integers is published, so a product goes to a register of its own and is added to its sum a few
cycles later. These registers leave room for a block of 4 vectors × 3 copied scalars of sums. Loads and broadcasts are
separate instructions: the ones that do both are for doubles (TACO18 §3.7). The lists are constructed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from sim.chip.pipeline.instruction import Instruction, Operation, branch, integer, store, vector_load
from sim.chip.pipeline.micro_kernel import BLOCK_VECTORS, Fetch, KSteps, Slots
from sim.chip.pipeline.scoreboard import issue_all
from sim.machine.spec import CpeSpec, PipelineSpec

SCALARS: Final = 3
"""Columns of a register block: 12 sums, 7 operands, 3 products and 4 scalar registers leave some of the 32 free."""
ORDER: Final = tuple((i, j) for j in range(SCALARS) for i in range(BLOCK_VECTORS))
"""Column by column: each operand is free four products before its successor is needed."""
PRODUCTS: Final = 3
"""Registers for products; one is added two products later, when a multiplication of 5 cycles is done."""
BEHIND: Final = 2

_LOADS: Final = {0: "b2", 7: "b0", 14: "b1", 16: "a0", 18: "a1", 20: "a2", 22: "a3"}
_PUTS: Final = {1: "a1", 2: "a2", 3: "a3", 5: "b2", 11: "b0", 19: "b1", 21: "a0"}
"""Beside which half of a product: operands of the next k-step as soon as this one no longer needs the register.

``b2`` and the broadcasts of three vectors are this k-step's own. A broadcast follows its load by the load's latency.
"""
_OWN_LOADS: Final = ("b2",)
_OWN_PUTS: Final = ("a1", "a2", "a3", "b2")
_EARLY: Final = ("a0", "b0", "a1", "b1", "a2", "a3")
_EARLY_PUTS: Final = ("a0", "b0", "b1")


def integer_steps(fetch: Fetch, *, instructions: int) -> KSteps:
    """``instructions``: of a vector of products and their sums; the first multiplies, the last adds."""
    slots: dict[int, Sequence[Instruction]] = {
        8: (integer("sub count", reads=("count",), writes="count"),),
        10: (integer("cmp count", reads=("count",), writes="test"),),
        2 * len(ORDER) - 1: (branch("bne loop", reads=("test",)),),
    }
    slots.update({12 + number: (pointer,) for number, pointer in enumerate(fetch.pointers)})
    last: dict[int, Sequence[Instruction]] = {}
    for place, register in _LOADS.items():
        slots[place] = (fetch.operand(register),)
        if register in _OWN_LOADS:
            last[place] = slots[place]
    for place, register in _PUTS.items():
        slots[place] = fetch.puts((register,))
        if register in _OWN_PUTS:
            last[place] = slots[place]
    clear = tuple(
        Instruction(text=f"vclr p{number}", operation=Operation.VECTOR_INTEGER, writes=(f"p{number}",))
        for number in range(PRODUCTS if instructions > 1 else 0)
    )
    tail = tuple(each for place in range(BEHIND) for each in _additions(place - BEHIND, instructions))
    return KSteps(
        prologue=(*(fetch.operand(each) for each in _EARLY), *clear, *fetch.puts(_EARLY_PUTS)),
        loop=_woven(slots, instructions),
        epilogue=(*_woven(last, instructions), *tail),
    )


def widening_cycles(*, cpe: CpeSpec, elements: int, bits: int) -> float:
    """Cycles in which a CPE makes 32-bit numbers of ``elements`` narrower ones in its LDM."""
    lanes = cpe.fixed_point.vector_lanes
    parts = 32 // bits
    loop = _widening_loop(cpe.pipeline, parts, cpe.fixed_point.widen_instructions(bits))
    return -(-elements // (lanes * parts)) * loop


@lru_cache(maxsize=64)
def _widening_loop(pipeline: PipelineSpec, parts: int, instructions: int) -> int:
    """A loaded vector: its parts widened and stored, two pointers moved."""
    body = [vector_load("vldd x", writes="x", address="source")]
    for part in range(parts):
        source = "x"
        for number in range(instructions):
            first = number == 0
            body.append(
                Instruction(
                    text=f"{'vshff' if first else 'vsraw'} y{part}",
                    operation=Operation.SHUFFLE if first else Operation.VECTOR_INTEGER,
                    reads=(source,),
                    writes=(f"y{part}",),
                )
            )
            source = f"y{part}"
        body.append(store(f"vstd {source}", reads=source, address="target"))
    body += [
        integer("add source", reads=("source",), writes="source"),
        integer("add target", reads=("target",), writes="target"),
        integer("cmp source", reads=("source", "end"), writes="test"),
        branch("bne widen", reads=("test",)),
    ]
    issues = issue_all(instructions=tuple(body) * 3, pipeline=pipeline)
    return issues[2 * len(body)].cycle - issues[len(body)].cycle


def _woven(slots: Slots, instructions: int) -> tuple[Instruction, ...]:
    """The products of a k-step, each followed by the sum of an earlier one, and what shall issue beside them."""
    woven: list[Instruction] = []
    for number in range(len(ORDER)):
        i, j = ORDER[number]
        fused = instructions == 1
        target = f"c{i}{j}" if fused else f"p{number % PRODUCTS}"
        woven.append(
            Instruction(
                text=f"vmulw {target} {'+=' if fused else '='} a{i}*b{j}",
                operation=Operation.INTEGER_MULTIPLY,
                reads=(f"a{i}", f"b{j}", *([target] if fused else [])),
                writes=(target,),
            )
        )
        woven.extend(slots.get(2 * number, ()))
        woven.extend(_additions(number - BEHIND, instructions))
        woven.extend(slots.get(2 * number + 1, ()))
    return tuple(woven)


def _additions(number: int, instructions: int) -> tuple[Instruction, ...]:
    """What is done to a product until it is in its sum; one before the first belongs to the k-step before."""
    if instructions == 1:
        return ()
    i, j = ORDER[number % len(ORDER)]
    product = f"p{number % PRODUCTS}"
    shifts = (
        Instruction(text=f"vsraw {product}", operation=Operation.VECTOR_INTEGER, reads=(product,), writes=(product,)),
    ) * (instructions - 2)
    add = Instruction(
        text=f"vaddw c{i}{j} += {product}",
        operation=Operation.VECTOR_INTEGER,
        reads=(product, f"c{i}{j}"),
        writes=(f"c{i}{j}",),
    )
    return (*shifts, add)
