"""One kernel over groups of channels in turn, in one launch: each group's channels are columns of the whole arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nnlib.kernels.batched import plane
from nnlib.kernels.kernel import Arguments, Kernel, Parameter
from nnlib.precision import StorageName
from sim.chip.memory import Array, MemoryArray

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


def columns_of(array: MemoryArray, first: int, count: int) -> MemoryArray:
    """``array[..., first : first + count]``: rows with gaps between them."""
    data = None if array.data is None else array.data[..., first : first + count]
    address = array.address + first * array.dtype.itemsize
    return replace(array, shape=(*array.shape[:-1], count), address=address, data=data, pitch=array.strides)


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """``kernel`` for each of ``groups`` groups, which gets planes of the arguments named and columns of the others.

    Those in ``planes`` have one axis more in front, the last axis of the others is so many times as long.
    """

    kernel: Kernel
    groups: int
    planes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"grouped_{self.kernel.name}"

    @property
    def dtype(self) -> StorageName:
        return self.kernel.dtype

    def parameters(self) -> tuple[Parameter, ...]:
        """The kernel's, with all groups in each."""
        return tuple(replace(each, shape=self._whole(each)) for each in self.kernel.parameters())

    def _whole(self, each: Parameter) -> tuple[int, ...]:
        if each.name in self.planes:
            return self.groups, *each.shape
        return *each.shape[:-1], each.shape[-1] * self.groups

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The kernel's for each group."""
        for group in range(self.groups):
            parts = {}
            for each in self.kernel.parameters():
                whole, width = arrays[each.name], each.shape[-1]
                columns = slice(group * width, (group + 1) * width)
                parts[each.name] = whole[group] if each.name in self.planes else whole[..., columns]
            self.kernel.reference(parts)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The kernel's program for each group. Raises what that raises."""
        for group in core_group.loop(self.name, self.groups, steady=range(self.groups)):
            parts = {}
            for each in self.kernel.parameters():
                whole, width = arguments[each.name], each.shape[-1]
                is_plane = each.name in self.planes
                parts[each.name] = plane(whole, group) if is_plane else columns_of(whole, group * width, width)
            self.kernel.program(core_group, parts)
