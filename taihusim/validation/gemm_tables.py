"""Predicts the published fp32 GEMMs of swGEMM on one core group: over shapes, over blockings, with the best blocking.

As in THESIS the long side N is contiguous in B and C, M in A (stored K × M); arrays begin at a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from nnlib.kernels.generations import Library
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.products.gemm_plan import ranked_plans
from nnlib.kernels.products.gemm_scheme import SWGEMM_CONVERTED, SWGEMM_DIRECT, GemmPlan
from sim.machine.spec import MachineSpec, ProcessorSpec
from taihusim.validation.conditions import GEMM_BLOCKS, GEMM_SHAPES, GEMM_SKINNY, GemmRun
from taihusim.validation.inputs import Inputs, check_library, whole
from taihusim.validation.launched import launched_seconds

LIBRARY: Final[Library] = "autotuned-2019"


def shapes(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of C += A·B, operands converted to fp64, with the blocks that the library's model takes for fastest."""
    gemm = replace(_product(inputs, GEMM_SHAPES), scheme=SWGEMM_CONVERTED)
    return _fastest([gemm], GEMM_SHAPES, machine)


def skinny_blocking(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of C = A·B by the fp32 micro-kernel with the best blocks: the fastest of those best by estimate."""
    gemm = replace(_product(inputs, GEMM_SKINNY), scheme=SWGEMM_DIRECT)
    processor = _processor(GEMM_SKINNY, machine)
    plans = ranked_plans(problem=gemm.problem(processor), processor=processor)
    best = plans[: round(GEMM_SKINNY.tried.value)]
    return _fastest((replace(gemm, plan=plan) for plan in best), GEMM_SKINNY, machine)


def block_sweep(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of C += A·B by the fp32 micro-kernel with the given blocks of the whole core group."""
    check_library(inputs, LIBRARY)
    mesh, size = machine.processor.mesh, round(GEMM_BLOCKS.size.value)
    gemm = Gemm(
        size,
        size,
        size,
        "fp32",
        transpose_a=True,
        scheme=SWGEMM_DIRECT,
        accumulate=bool(GEMM_BLOCKS.reads_c.value),
        plan=GemmPlan(
            m=whole(inputs, "BM", multiple=mesh.rows, most=size) // mesh.rows,
            n=whole(inputs, "BN", multiple=mesh.columns, most=size) // mesh.columns,
            k=whole(inputs, "BK", multiple=mesh.columns, most=size) // mesh.columns,
        ),
    )
    return _fastest([gemm], GEMM_BLOCKS, machine)


def _product(inputs: Inputs, run: GemmRun) -> Gemm:
    check_library(inputs, LIBRARY)
    m, n, k = whole(inputs, "M"), whole(inputs, "N"), whole(inputs, "K")
    return Gemm(m, n, k, "fp32", transpose_a=True, accumulate=bool(run.reads_c.value))


def _processor(run: GemmRun, machine: MachineSpec) -> ProcessorSpec:
    return run.memory.processor(machine.processor)


def _fastest(gemms: Iterable[Gemm], run: GemmRun, machine: MachineSpec) -> float:
    """GFLOPS of the fastest, launch included. Raises Unpredictable if its blocks do not fit the LDM."""
    processor = _processor(run, machine)
    return max(2 * gemm.m * gemm.n * gemm.k / launched_seconds(gemm, processor) / 1e9 for gemm in gemms)
