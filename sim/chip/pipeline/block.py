"""What surrounds the k-steps of the GEMM micro-kernel: a register block, a row of blocks, a step of the mesh.

Fewer than 30 of the 32 registers are usable (TACO18 §3.4.2); accumulators, operands and pointers take 29, so loop
counters and bases live in the LDM. The lists are constructed from what has to be done: 16 loads and 16 stores of C,
moves of pointers, counters, and a choice among the four roles. Their lengths are what a fit of THESIS figure 4.8
(59.4 cycles per block, 13.1 per row of blocks) made plausible; no listing of them is published.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.chip.pipeline.instruction import Instruction, branch, integer, load, store, vector_load
from sim.chip.pipeline.micro_kernel import BLOCK_VECTORS


def block_head(scalars: int = BLOCK_VECTORS) -> tuple[Instruction, ...]:
    """Fetch pointers, count and column stride, load the vectors of C, decide whether there is a loop at all.

    ``scalars``: columns of the block, of four vectors each.
    """
    return (
        load("ldl pc", writes="pc", address="sp"),
        load("ldl stride", writes="stride", address="sp"),
        load("ldl pa", writes="pa", address="sp"),
        load("ldl pb", writes="pb", address="sp"),
        load("ldl count", writes="count", address="sp"),
        *_columns("vldd", scalars, stored=False),
        integer("cmp count", reads=("count",), writes="test"),
        branch("beq epilogue", reads=("test",)),
    )


def block_tail(scalars: int = BLOCK_VECTORS) -> tuple[Instruction, ...]:
    """Store C; move the pointers in the LDM on to the next block of the row and count it."""
    return (
        load("ldl pc", writes="pc", address="sp"),
        load("ldl stride", writes="stride", address="sp"),
        load("ldl pb", writes="pb", address="sp"),
        load("ldl columns", writes="count", address="sp"),
        *_columns("vstd", scalars, stored=True),
        integer("add pc, stride", reads=("pc", "stride"), writes="pc"),
        integer("add pb, 1 block", reads=("pb",), writes="pb"),
        store("stl pc", reads="pc", address="sp"),
        integer("sub columns", reads=("count",), writes="count"),
        store("stl pb", reads="pb", address="sp"),
        store("stl columns", reads="count", address="sp"),
        branch("bne block", reads=("count",)),
    )


def row_head() -> tuple[Instruction, ...]:
    """Begin a row of blocks: bases of A and C, first block of B, counters in the LDM."""
    return (
        load("ldl rows", writes="rows", address="sp"),
        load("ldl row of A", writes="a_row", address="sp"),
        load("ldl row of C", writes="pc", address="sp"),
        integer("sub rows", reads=("rows",), writes="rows"),
        store("stl rows", reads="rows", address="sp"),
        integer("add row of A", reads=("a_row",), writes="a_row"),
        store("stl row of A", reads="a_row", address="sp"),
        integer("add row of C", reads=("pc",), writes="pc"),
        store("stl row of C", reads="pc", address="sp"),
        load("ldl pb", writes="pb", address="sp"),
        store("stl columns", reads="columns_start", address="sp"),
        branch("beq done", reads=("rows",)),
    )


def dispatch() -> tuple[Instruction, ...]:
    """Begin a step of the mesh: compare it with the own row and column, branch to the variant of the role."""
    return (
        load("ldl step", writes="step", address="sp"),
        integer("add step", reads=("step",), writes="step"),
        store("stl step", reads="step", address="sp"),
        integer("cmp step, own column", reads=("step",), writes="test"),
        branch("beq sends row", reads=("test",)),
        integer("cmp step, own row", reads=("step",), writes="test"),
        branch("beq sends column", reads=("test",)),
        branch("br variant", reads=()),
        integer("cmp step, mesh", reads=("step",), writes="test"),
        branch("beq done", reads=("test",)),
    )


def _columns(mnemonic: str, scalars: int, *, stored: bool) -> Iterator[Instruction]:
    """The vectors of C, with a move of the pointer between columns."""
    for j in range(scalars):
        if j:
            yield integer("add pc, stride", reads=("pc", "stride"), writes="pc")
        for i in range(BLOCK_VECTORS):
            text = f"{mnemonic} c{i}{j}"
            if stored:
                yield store(text, reads=f"c{i}{j}", address="pc")
            else:
                yield vector_load(text, writes=f"c{i}{j}", address="pc")
