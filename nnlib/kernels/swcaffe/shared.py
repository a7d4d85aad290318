"""Products that the core groups of a chip do together on the samples of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlib.kernels.kernel import Arguments, Kernel, Parameter
from nnlib.kernels.products.gemm import Gemm
from nnlib.precision import StorageName
from sim.chip.memory import Array

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True, kw_only=True)
class Shared:
    """``kernel`` on a core group's own samples, done with those of the others: each does ``share`` of it all.

    The numbers of a core group's samples are the same whoever computes them; the time is that of the share.
    """

    kernel: Gemm
    share: Gemm

    @property
    def name(self) -> str:
        return self.kernel.name

    @property
    def dtype(self) -> StorageName:
        return self.kernel.dtype

    @property
    def launches(self) -> tuple[tuple[Kernel, int], ...]:
        """The share is what runs on a core group."""
        return ((self.share, 1),)

    def parameters(self) -> tuple[Parameter, ...]:
        return self.kernel.parameters()

    def reference(self, arrays: Mapping[str, Array]) -> None:
        self.kernel.reference(arrays)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The whole kernel where it computes, the share where it is timed."""
        self.kernel.program(core_group, arguments)
