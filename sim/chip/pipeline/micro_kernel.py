"""The k-steps of the GEMM micro-kernel, as instruction lists: 16 vector multiply-adds and the operands of the next.

A register block has 4 × 4 accumulators ``c00``…``c33``, four vectors of A and four copied scalars of B (SWDNN17 §VI,
R-swDNN ``gemm.S``). Derived from sources: 26 cycles per k-step in compiler order, 17 by hand in 2016 for a CPE that
only receives, more for one that sends and moves two pointers, 16 in 2019; a prologue of 5 and an epilogue of 16;
25 instructions for P1 in fp32. Constructed: the lists, such that these counts come out of the scoreboard's rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sim.chip.pipeline.instruction import (
    BusName,
    Instruction,
    branch,
    integer,
    load_and_send,
    multiply_add,
    receive,
    send,
    vector_load,
)
from sim.chip.pipeline.roles import Role

BLOCK_VECTORS = 4
"""Register block of the GEMM micro-kernel: 4 × 4 vector accumulators, 16 × 4 outputs (SWDNN17 §VI)."""

_QUARTERS = ((0, 0), (2, 0), (0, 2), (2, 2))
ORDER = tuple((i + di, j + dj) for i, j in _QUARTERS for dj in (0, 1) for di in (0, 1))
"""The multiply-adds quarter by quarter: each operand is free four slots before its successor is needed."""

_LATE = ("a2", "a3", "b2", "b3")
_EARLY = ("a0", "b0", "a1", "b1")
_LATE_SLOTS = {0: "a2", 1: "a3", 2: "b2", 3: "b3"}
"""Beside which multiply-add the rest of this k-step's operands is fetched; vector loads take four cycles."""
_EARLY_SLOTS = {6: "b0", 8: "b1", 10: "a0", 11: "a1"}
"""The same for the first operands of the next k-step."""

Slots = Mapping[int, Sequence[Instruction]]


@dataclass(frozen=True, kw_only=True)
class KSteps:
    """The inner loop in parts: ``prologue`` once, ``loop`` for all k-steps but the last, ``epilogue`` the last."""

    prologue: tuple[Instruction, ...]
    loop: tuple[Instruction, ...]
    epilogue: tuple[Instruction, ...]


@dataclass(frozen=True)
class Fetch:
    """How a role gets its operands. ``broadcast`` is False where loads and broadcasts are separate instructions.

    ``letter`` of the operands' type in the listing. ``local``: all operands lie in the own LDM, nothing is sent.
    """

    role: Role
    broadcast: bool = True
    letter: str = "s"
    local: bool = False

    def operand(self, register: str) -> Instruction:
        """Load, load and broadcast, or receive ``a0``…``b3``."""
        of_a = register.startswith("a")
        bus: BusName = "row" if of_a else "column"
        if not (self.local or self.sends(register)):
            return receive(f"get{bus[0]} {register}", writes=register, bus=bus)
        address = "pa" if of_a else "pb"
        if self.local or not self.broadcast:
            name = f"vld{self.letter}" if of_a else f"ld{self.letter}e"
            return vector_load(f"{name} {register}", writes=register, address=address)
        return load_and_send(f"{'vldr' if of_a else 'lddec'} {register}", writes=register, address=address, bus=bus)

    def puts(self, registers: Sequence[str]) -> tuple[Instruction, ...]:
        """The broadcasts that follow separate loads."""
        if self.local or self.broadcast:
            return ()
        return tuple(self._put(register) for register in registers if self.sends(register))

    def sends(self, register: str) -> bool:
        return self.role.row_sender if register.startswith("a") else self.role.column_sender

    @property
    def pointers(self) -> tuple[Instruction, ...]:
        """Move the pointers of what this role sends."""
        sends = (("pa", self.role.row_sender), ("pb", self.role.column_sender))
        moved = [name for name, reads in sends if self.local or reads]
        return tuple(integer(f"add {name}", reads=(name,), writes=name) for name in moved)

    def _put(self, register: str) -> Instruction:
        bus: BusName = "row" if register.startswith("a") else "column"
        return send(f"put{bus[0]} {register}", reads=register, bus=bus)


def compiler_order(fetch: Fetch) -> KSteps:
    """8 loads, 16 multiply-adds, count and branch, one after the other (SWDNN17 §VI.B: 26 cycles; THESIS: 25)."""
    registers = ("a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3")
    operands = [fetch.operand(register) for register in registers]
    last = len(ORDER) - 1
    moving = {1 + index: (pointer,) for index, pointer in enumerate(fetch.pointers)}
    body = (*operands, *fetch.puts(registers), *weave({**moving, last: (_count(),)}))
    loop = (*body, _compare("count"), _branch())
    return KSteps(prologue=(), loop=loop, epilogue=loop)


def swdnn_2016(fetch: Fetch) -> KSteps:
    """Loads beside multiply-adds; a branch that waits for its comparison, and pointers moved before that.

    17 cycles receiving on both buses (SWDNN17 §VI.B); the pointers of a sender are derived from R-swDNN ``gemm.S``,
    their place at the end is constructed. In fp32 the broadcasts stand behind the multiply-adds: 25 cycles
    (TACO18 §3.7).
    """
    last = len(ORDER) - 1
    ending = (*fetch.pointers, _compare(*(pointer.writes[0] for pointer in fetch.pointers), "count"))
    early = {slot: (fetch.operand(register),) for slot, register in _EARLY_SLOTS.items()}
    counting = {4: (_count(),)}
    if fetch.broadcast:
        loop = (*weave({**_late(fetch), **early, **counting, last: ending[:1]}), *ending[1:], _branch())
    else:
        moving = {12 + index: (pointer,) for index, pointer in enumerate(fetch.pointers)}
        loop = (
            *weave({**_late(fetch), **early, **counting, **moving, last: ending[-1:]}),
            *fetch.puts((*_LATE, *_EARLY)),
            _branch(),
        )
    return KSteps(prologue=_prologue(fetch), loop=loop, epilogue=(*weave(_late(fetch)), *fetch.puts(_LATE)))


def autotuned_2019(fetch: Fetch) -> KSteps:
    """Everything beside multiply-adds, the comparison early enough for the branch: 16 cycles in all roles.

    The count is R-swGEMM's (``asm/README.md``) and THESIS listing 4.1's; the list is constructed. There is no variant
    with separate broadcasts: fp32 operands are converted to fp64 first.
    """
    slots = _late(fetch)
    slots.update({slot: (fetch.operand(register),) for slot, register in _EARLY_SLOTS.items()})
    slots.update({12 + index: (pointer,) for index, pointer in enumerate(fetch.pointers)})
    slots.update({4: (_count(),), 14: (_compare("count"),), 15: (_branch(),)})
    return KSteps(prologue=_prologue(fetch), loop=weave(slots), epilogue=weave(_late(fetch)))


def weave(slots: Slots) -> tuple[Instruction, ...]:
    """The multiply-adds of a k-step, each followed by what shall issue beside it."""
    woven: list[Instruction] = []
    for slot, (i, j) in enumerate(ORDER):
        woven.append(multiply_add(f"c{i}{j}", f"a{i}", f"b{j}"))
        woven.extend(slots.get(slot, ()))
    return tuple(woven)


def _late(fetch: Fetch) -> dict[int, Sequence[Instruction]]:
    return {slot: (fetch.operand(register),) for slot, register in _LATE_SLOTS.items()}


def _prologue(fetch: Fetch) -> tuple[Instruction, ...]:
    return (*(fetch.operand(register) for register in _EARLY), *fetch.puts(_EARLY))


def _count() -> Instruction:
    return integer("sub count", reads=("count",), writes="count")


def _compare(*registers: str) -> Instruction:
    return integer(f"cmp {registers[0]}", reads=registers, writes="test")


def _branch() -> Instruction:
    return branch("bne loop", reads=("test",))
