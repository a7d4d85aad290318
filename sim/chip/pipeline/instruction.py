"""What a CPE's two pipes execute: an instruction with its operation, registers and register communication."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from sim.machine.spec import PipelineSpec

BusName = Literal["row", "column"]


class Pipe(Enum):
    """Where an instruction may enter. P0 computes; P1 loads, stores, communicates and branches (SWDNN17 §VI.A)."""

    P0 = "P0"
    P1 = "P1"
    EITHER = "either"


class Operation(Enum):
    """Classes of instructions that differ in pipe or latency (THESIS table 3.2)."""

    INTEGER = "integer"
    INTEGER_MULTIPLY = "integer multiply"
    VECTOR_INTEGER = "vector integer"
    FLOATING = "floating"
    DIVIDE = "divide"
    SHUFFLE = "shuffle"
    LOAD = "load"
    VECTOR_LOAD = "vector load"
    STORE = "store"
    BRANCH = "branch"
    SEND = "send"
    LOAD_AND_SEND = "load and send"
    RECEIVE = "receive"


_P0 = frozenset(
    {
        Operation.INTEGER_MULTIPLY,
        Operation.VECTOR_INTEGER,
        Operation.FLOATING,
        Operation.DIVIDE,
        Operation.SHUFFLE,
    },
)
SENDING = frozenset({Operation.SEND, Operation.LOAD_AND_SEND})


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction. ``text`` is what a listing shows, ``reads`` and ``writes`` name registers.

    ``bus`` is the bus that a sending or receiving instruction uses, None for all others.
    """

    text: str
    operation: Operation
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    bus: BusName | None = None

    @property
    def pipe(self) -> Pipe:
        """The pipes it may enter: scalar integer arithmetic either, all else only one."""
        if self.operation is Operation.INTEGER:
            return Pipe.EITHER
        return Pipe.P0 if self.operation in _P0 else Pipe.P1

    def latency(self, pipeline: PipelineSpec) -> int:
        """Cycles from its issue until what it writes can be read."""
        return latency(self.operation, pipeline)

    def occupies(self, pipeline: PipelineSpec) -> int:
        """Cycles for which its pipe takes nothing else: one, or the whole latency of a division."""
        return pipeline.divide if self.operation is Operation.DIVIDE else 1


def latency(operation: Operation, pipeline: PipelineSpec) -> int:
    """Cycles from issue to result, of the machine file."""
    match operation:
        case Operation.INTEGER | Operation.VECTOR_INTEGER:
            return pipeline.integer
        case Operation.INTEGER_MULTIPLY:
            return pipeline.integer_multiply
        case Operation.FLOATING:
            return pipeline.floating
        case Operation.DIVIDE:
            return pipeline.divide
        case Operation.SHUFFLE:
            return pipeline.shuffle
        case Operation.LOAD:
            return pipeline.load
        case Operation.VECTOR_LOAD | Operation.LOAD_AND_SEND:
            return pipeline.vector_load
        case Operation.RECEIVE | Operation.SEND:
            return pipeline.register_communication_issue
        case Operation.STORE | Operation.BRANCH:
            return 1  # they write no register


def integer(text: str, *, writes: str, reads: tuple[str, ...] = ()) -> Instruction:
    """A scalar integer addition, comparison, shift or move."""
    return Instruction(text=text, operation=Operation.INTEGER, reads=reads, writes=(writes,))


def multiply_add(accumulator: str, one: str, other: str) -> Instruction:
    """``vmad``: ``accumulator += one · other``, all lanes."""
    return Instruction(
        text=f"vmad {accumulator} += {one}*{other}",
        operation=Operation.FLOATING,
        reads=(one, other, accumulator),
        writes=(accumulator,),
    )


def load(text: str, *, writes: str, address: str) -> Instruction:
    """A scalar load from the LDM."""
    return Instruction(text=text, operation=Operation.LOAD, reads=(address,), writes=(writes,))


def vector_load(text: str, *, writes: str, address: str) -> Instruction:
    """A vector load from the LDM, or a scalar load copied to all lanes."""
    return Instruction(text=text, operation=Operation.VECTOR_LOAD, reads=(address,), writes=(writes,))


def store(text: str, *, reads: str, address: str) -> Instruction:
    """A store to the LDM, scalar or vector."""
    return Instruction(text=text, operation=Operation.STORE, reads=(reads, address))


def branch(text: str, *, reads: tuple[str, ...]) -> Instruction:
    """A conditional branch or a jump."""
    return Instruction(text=text, operation=Operation.BRANCH, reads=reads)


def load_and_send(text: str, *, writes: str, address: str, bus: BusName) -> Instruction:
    """``vldr``, ``lddec``: load and broadcast along the row or column in one instruction; fp64 only (TACO18 §3.7)."""
    return Instruction(text=text, operation=Operation.LOAD_AND_SEND, reads=(address,), writes=(writes,), bus=bus)


def send(text: str, *, reads: str, bus: BusName) -> Instruction:
    """``putr``, ``putc``: broadcast a register."""
    return Instruction(text=text, operation=Operation.SEND, reads=(reads,), bus=bus)


def receive(text: str, *, writes: str, bus: BusName) -> Instruction:
    """``getr``, ``getc``: take the oldest entry of the receive FIFO."""
    return Instruction(text=text, operation=Operation.RECEIVE, writes=(writes,), bus=bus)
