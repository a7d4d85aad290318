"""The k-steps of swCaffe's fp32 micro-kernel of 2018, which multiplies floats as they lie in the LDM.

No instruction loads and broadcasts a float, so a CPE that sends on both buses has 16 instructions for P1 beside the 16
multiply-adds: four each of vlds, putr, ldse and putc (R-swCaffe ``gemm_float.S``). Constructed: their places. Pointers,
count and comparison find no free slot and make the step longer than its 16 multiply-adds.
"""

from __future__ import annotations

from sim.chip.pipeline.instruction import Instruction, branch, integer
from sim.chip.pipeline.micro_kernel import Fetch, KSteps, weave

_LATE = ("a2", "a3", "b2", "b3")
_EARLY = ("a0", "b0", "a1", "b1")
_LATE_LOADS = {0: "a2", 1: "a3", 2: "b2", 3: "b3"}
_LATE_PUTS = {4: "a2", 5: "a3", 7: "b2", 9: "b3"}
"""A put follows its load by at least the four cycles of a vector load."""
_EARLY_LOADS = {6: "b0", 8: "b1", 10: "a0", 11: "a1"}
_EARLY_PUTS = {12: "b0", 13: "b1", 14: "a0", 15: "a1"}
"""Operands of the next k-step, as soon as this one no longer needs the register."""


def swcaffe_2018(fetch: Fetch) -> KSteps:
    """Loads and broadcasts beside multiply-adds; pointers, count and comparison before the branch."""
    tests = ("count", *(pointer.writes[0] for pointer in fetch.pointers))
    ending = (
        integer("sub count", reads=("count",), writes="count"),
        *fetch.pointers,
        integer("cmp count", reads=tests, writes="test"),
        branch("bne loop", reads=("test",)),
    )
    late = _slots(fetch, loads=_LATE_LOADS, puts=_LATE_PUTS)
    early = _slots(fetch, loads=_EARLY_LOADS, puts=_EARLY_PUTS)
    return KSteps(
        prologue=(*(fetch.operand(register) for register in _EARLY), *fetch.puts(_EARLY)),
        loop=(*weave({**late, **early}), *ending),
        epilogue=weave(late),
    )


def _slots(fetch: Fetch, *, loads: dict[int, str], puts: dict[int, str]) -> dict[int, tuple[Instruction, ...]]:
    """What stands beside which multiply-add; a CPE that receives has its operand with the load's slot."""
    slots = {slot: (fetch.operand(register),) for slot, register in loads.items()}
    return {**slots, **{slot: fetch.puts((register,)) for slot, register in puts.items()}}
