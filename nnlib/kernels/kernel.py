"""What a kernel is: a description that fixes shapes and precision, a plan, and one tile program.

The tile program is the one source: run with numerics it computes, run with timing it emits what is timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np

from nnlib.precision import STORAGE, StorageName
from sim.chip.memory import Array, MemoryArray, Shape
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

Use: TypeAlias = Literal["in", "out", "inout"]
Arguments: TypeAlias = Mapping[str, MemoryArray]


class InfeasiblePlan(Exception):
    """No plan of the kernel fits the machine: ``needed`` bytes of LDM against ``available``."""

    def __init__(self, *, kernel: str, needed: int, available: int) -> None:
        super().__init__(f"{kernel}: the smallest tile needs {needed} B of LDM per CPE, the machine has {available} B")
        self.kernel = kernel
        self.needed = needed
        self.available = available


class UnsuitablePlan(Exception):
    """A plan that cannot do what is asked on any machine; ``reason`` says why."""

    def __init__(self, *, kernel: str, reason: str) -> None:
        super().__init__(f"{kernel}: {reason}")
        self.kernel = kernel
        self.reason = reason


@dataclass(frozen=True)
class Parameter:
    """An array argument of a kernel. ``common``: core groups that share out the work all read the same array.

    ``dtype``: what it is stored in, if not in the kernel's ``dtype``.
    """

    name: str
    shape: Shape
    use: Use
    common: bool = False
    dtype: StorageName | None = None


class Kernel(Protocol):
    """A frozen, hashable description of one kernel launch on one core group."""

    @property
    def name(self) -> str:
        """The kernel's name, such as ``gemm``."""

    @property
    def dtype(self) -> StorageName:
        """The precision of its arrays, where they do not have one of their own."""

    def parameters(self) -> tuple[Parameter, ...]:
        """The array arguments, in order."""

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if no tile fits the LDM."""

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The same numbers by whole-array operations, written into the out arrays."""


def array_dtype(kernel: Kernel, parameter: Parameter) -> np.dtype[Any]:
    """The NumPy dtype of an array argument."""
    return STORAGE[kernel.dtype if parameter.dtype is None else parameter.dtype]


def empty_array(kernel: Kernel, parameter: Parameter) -> Array:
    """A new array for an argument, see :func:`blank`."""
    return blank(parameter.shape, array_dtype(kernel, parameter))


def blank(shape: Shape, dtype: np.dtype[Any]) -> Array:
    """An array whose numbers no result has: NaN, or the smallest integer."""
    return np.full(shape, np.iinfo(dtype).min if dtype.kind == "i" else np.nan, dtype=dtype)


def check_fits(*, kernel: str, needed: int, processor: ProcessorSpec) -> None:
    """Raise InfeasiblePlan unless ``needed`` bytes per CPE fit the LDM."""
    available = processor.cpe.ldm_bytes
    if needed > available:
        raise InfeasiblePlan(kernel=kernel, needed=needed, available=available)
