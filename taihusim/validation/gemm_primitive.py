"""Predicts ``gemm_ldm_primitive``: the mesh GEMM of tiles that are in the LDM already, without DMA."""

from __future__ import annotations

from sim.chip.core_group import CoreGroup
from sim.chip.scheduler import schedule
from sim.chip.tile import Split
from sim.machine.spec import MachineSpec
from sim.time import seconds_from_ticks
from taihusim.validation.inputs import Inputs, check_library, whole
from taihusim.validation.microbenchmark import FP64

LIBRARY = "autotuned-2019"


def ldm_primitive(inputs: Inputs, machine: MachineSpec) -> float:
    """GFLOPS of C += A·B on one core group; M, N and K are those of the whole mesh (THESIS §4.3.1)."""
    processor = machine.processor
    check_library(inputs, LIBRARY)
    rows, columns = processor.mesh.rows, processor.mesh.columns
    m, n, k = whole(inputs, "M", multiple=rows), whole(inputs, "N", multiple=columns), whole(inputs, "K", multiple=rows)
    group = CoreGroup(processor=processor, numerics=False)
    split = Split(rows=0, columns=1)
    sizes = {"a": (m // rows, k // columns), "b": (k // rows, n // columns), "c": (m // rows, n // columns)}
    a, b, c = (group.alloc(name, size=size, dtype=FP64, split=split) for name, size in sizes.items())
    group.compute("fill", cycles=0, writes=[a, b, c])
    group.mesh_gemm("gemm", c=c, a=a, b=b)
    timing = schedule(trace=group.finish(), processor=processor)
    return 2 * m * n * k / seconds_from_ticks(timing.ticks, clock_hertz=processor.clock_hertz) / 1e9
