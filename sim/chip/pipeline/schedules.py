"""The instruction schedules of the GEMM micro-kernel by name, and a CPE's whole program under one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sim.chip.pipeline.block import block_head, block_tail, dispatch, row_head
from sim.chip.pipeline.float_2018 import swcaffe_2018
from sim.chip.pipeline.instruction import Instruction
from sim.chip.pipeline.integer import SCALARS, integer_steps
from sim.chip.pipeline.micro_kernel import (
    BLOCK_VECTORS,
    Fetch,
    KSteps,
    autotuned_2019,
    compiler_order,
    swdnn_2016,
)
from sim.chip.pipeline.roles import Role, role_at
from sim.machine.spec import FixedPointSpec, MeshSpec


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule of the k-steps. ``converts_fp32``: operands are turned into fp64 in the LDM and multiplied as such.

    That is for register communication: remote access leaves operands in the own LDM, where any format can be loaded.
    Without that fp32 loads and broadcasts are separate instructions (TACO18 §3.7); ``separate``: in fp64 too, as in C,
    where broadcasts are macros of one ``putr`` or ``putc`` each. ``scalars``: copied scalars of a register block.
    """

    name: str
    k_steps: Callable[[Fetch], KSteps]
    converts_fp32: bool = False
    separate: bool = False
    scalars: int = BLOCK_VECTORS

    def converts(self, dtype: str, mesh: MeshSpec) -> bool:
        """True if operands of ``dtype`` are turned into fp64."""
        return dtype == "fp32" and self.converts_fp32 and mesh.remote is None

    def parts(self, *, role: Role, dtype: str, local: bool = False) -> KSteps:
        """The instruction lists of a role. ``local``: operands come by remote access, so nobody sends or receives."""
        if local:
            letter = "w" if is_integer(dtype) else "d" if dtype == "fp64" else "s"
            return self.k_steps(Fetch(role, letter=letter, local=True))
        if is_integer(dtype):
            return self.k_steps(Fetch(role, broadcast=False, letter="w"))
        double = dtype == "fp64" or self.converts_fp32
        return self.k_steps(Fetch(role, broadcast=double and not self.separate, letter="d" if double else "s"))


SCHEDULES = {
    schedule.name: schedule
    for schedule in (
        Schedule(name="compiler", k_steps=compiler_order),
        Schedule(name="compiler-macros", k_steps=compiler_order, separate=True),
        Schedule(name="swdnn-2016", k_steps=swdnn_2016),
        Schedule(name="swcaffe-2018", k_steps=swcaffe_2018),
        Schedule(name="autotuned-2019", k_steps=autotuned_2019, converts_fp32=True),
    )
}
DEFAULT_SCHEDULE = "autotuned-2019"


def is_integer(dtype: str) -> bool:
    """True of the name of an integer format."""
    return dtype.startswith("int")


def schedule_for(name: str, *, dtype: str, fixed_point: FixedPointSpec) -> Schedule:
    """The schedule of a name; integers have their own, whatever the name. Raises KeyError for an unknown one."""
    found = SCHEDULES[name]
    if not is_integer(dtype):
        return found
    k_steps = partial(integer_steps, instructions=fixed_point.multiply_add_instructions)
    return Schedule(name="integer", k_steps=k_steps, separate=True, scalars=SCALARS)


@dataclass(frozen=True, kw_only=True)
class GemmShape:
    """A CPE's part of a mesh GEMM: rows of blocks, blocks in each, k-steps of a block and steps of the mesh."""

    rows: int
    columns: int
    k: int
    steps: int


def gemm_program(
    *, schedule: Schedule, dtype: str, shape: GemmShape, local: bool = False
) -> Callable[[int, int], Iterator[Instruction]]:
    """The program of the CPE in a row and column, its role changing from step to step."""
    kernels = {
        role: schedule.parts(role=role, dtype=dtype, local=local)
        for role in (Role(row, column) for row in (True, False) for column in (True, False))
    }

    def program(row: int, column: int) -> Iterator[Instruction]:
        for step in range(shape.steps):
            yield from dispatch()
            kernel = kernels[role_at(row=row, column=column, step=step)]
            for _ in range(shape.rows):
                yield from row_head()
                for _ in range(shape.columns):
                    yield from block_program(kernel, shape.k, scalars=schedule.scalars)

    return program


def block_program(kernel: KSteps, k: int, *, scalars: int = BLOCK_VECTORS) -> Iterator[Instruction]:
    """One register block: load C, ``k`` k-steps, store C."""
    yield from block_head(scalars)
    yield from kernel.prologue
    for _ in range(k - 1):
        yield from kernel.loop
    yield from kernel.epilogue
    yield from block_tail(scalars)
