"""A tile that does not fit the LDM, as a problem of the machine."""

from __future__ import annotations

from nnlib.kernels.kernel import InfeasiblePlan
from sim.machine.spec import MachineSpec
from sim.problems import Problem


def tile_problem(machine: MachineSpec, error: InfeasiblePlan, *, place: str = "") -> Problem:
    """A kernel's smallest tile does not fit; ``place`` says where the kernel is used."""
    expected = f"at least {error.needed} B for the smallest tile of {error.kernel}{place and f' {place}'}"
    found = f"{error.available} B"
    return Problem(file=f"machine {machine.name}", key="processor.cpe.ldm", value=found, expected=expected)
