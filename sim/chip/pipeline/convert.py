"""Conversion of fp32 operands to fp64 in the LDM, before a GEMM ("float2double", SWCAFFE §IV.A)."""

from __future__ import annotations

from functools import lru_cache

from sim.chip.pipeline.instruction import Instruction, Operation, branch, integer, load, store
from sim.chip.pipeline.scoreboard import issue_all
from sim.machine.spec import CpeSpec, PipelineSpec

CONVERSION = (
    load("lds x", writes="x", address="source"),
    Instruction(text="cvt y, x", operation=Operation.FLOATING, reads=("x",), writes=("y",)),
    store("std y", reads="y", address="target"),
    integer("add source", reads=("source",), writes="source"),
    integer("add target", reads=("target",), writes="target"),
    integer("cmp source", reads=("source", "end"), writes="test"),
    branch("bne convert", reads=("test",)),
)
"""One element, a scalar loop in compiler order. Constructed; no listing is published.

It takes 14 cycles. With it on all three operands THESIS's fp32 GEMMs over shapes come out at a mean error of 9 %; those
over blockings, and with the best ones, fit the fp32 micro-kernel without a conversion better.
"""


def conversion_cycles(*, cpe: CpeSpec, elements: int) -> int:
    """Cycles in which a CPE converts ``elements`` values of its LDM."""
    return elements * _element_cycles(cpe.pipeline)


@lru_cache(maxsize=64)
def _element_cycles(pipeline: PipelineSpec) -> int:
    issues = issue_all(instructions=CONVERSION * 3, pipeline=pipeline)
    return issues[2 * len(CONVERSION)].cycle - issues[len(CONVERSION)].cycle
