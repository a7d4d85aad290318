"""One kernel over each of several matrices in turn, in one launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nnlib.kernels.kernel import Arguments, Kernel, Parameter, Use
from nnlib.precision import StorageName
from sim.chip.memory import Array, MemoryArray

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


def plane(array: MemoryArray, index: int) -> MemoryArray:
    """``array[index]``: what lies there under the remaining axes."""
    data = None if array.data is None else array.data[index]
    return replace(array, shape=array.shape[1:], address=array.address + index * array.strides[0], data=data)


@dataclass(frozen=True, kw_only=True)
class Batched:
    """``kernel`` for ``count`` of the ``total`` planes of arrays with one axis more in front, from ``first`` on."""

    kernel: Kernel
    total: int
    first: int = 0
    count: int | None = None

    @property
    def name(self) -> str:
        return f"batched_{self.kernel.name}"

    @property
    def dtype(self) -> StorageName:
        return self.kernel.dtype

    @property
    def planes(self) -> range:
        """The planes that it goes over."""
        count = self.total - self.first if self.count is None else self.count
        return range(self.first, self.first + count)

    def parameters(self) -> tuple[Parameter, ...]:
        """The kernel's, with ``total`` planes each; where it leaves planes as they are, they count as read."""
        partly = len(self.planes) < self.total

        def of(each: Parameter) -> Parameter:
            use: Use = "inout" if partly and each.use == "out" else each.use
            return replace(each, shape=(self.total, *each.shape), use=use)

        return tuple(of(each) for each in self.kernel.parameters())

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The kernel's for each plane."""
        for index in self.planes:
            self.kernel.reference({name: array[index] for name, array in arrays.items()})

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The kernel's program for each plane. Raises what that raises."""
        planes = self.planes
        for number in core_group.loop(self.name, len(planes), steady=range(len(planes))):
            self.kernel.program(core_group, {name: plane(each, planes[number]) for name, each in arguments.items()})
