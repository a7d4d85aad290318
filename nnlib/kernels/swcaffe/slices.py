"""Several launches for each part of a batch and each group of channels, on their slices of the arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlib.kernels.chained import Stage
from nnlib.kernels.kernel import Arguments, Kernel, Parameter, Use
from nnlib.kernels.views import seen_as
from nnlib.precision import StorageName
from sim.chip.memory import Array, Shape

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class Sliced:
    """An array of ``shape``; a kernel gets its slice at axes ``part`` and ``group``, all of it along None.

    A stage that goes image by image gets the slice at ``image`` besides.
    """

    shape: Shape
    use: Use
    part: int | None = None
    group: int | None = None
    image: int | None = None


@dataclass(frozen=True, kw_only=True)
class Slices:
    """``stages`` for each of ``parts`` parts and each of ``groups`` groups, every one of them a launch of its own.

    ``arrays`` says how each array is sliced. Kernels get the slice under their own shape, see
    :func:`nnlib.kernels.views.seen_as`. Stages with numbers in ``by_image`` are launched for each of ``images`` images
    of a part.
    """

    label: str
    stages: tuple[Stage, ...]
    parts: int
    groups: int
    arrays: tuple[tuple[str, Sliced], ...]
    images: int = 1
    by_image: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return self.label

    @property
    def dtype(self) -> StorageName:
        return self.stages[0].kernel.dtype

    @property
    def launches(self) -> Iterator[tuple[Kernel, int]]:
        """The kernels that are launched, and how often."""
        for number, stage in enumerate(self.stages):
            yield stage.kernel, self.parts * self.groups * (self.images if number in self.by_image else 1)

    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(Parameter(name, each.shape, each.use) for name, each in self.arrays)

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The stages' for each part and group."""
        for stage, places in self._each():
            views, copies = {}, []
            for each, (_, name) in zip(stage.kernel.parameters(), stage.arrays, strict=True):
                view = arrays[name]
                for axis, index in places[name]:
                    view = view[(slice(None),) * axis + (index,)]
                views[each.name] = view.reshape(each.shape)
                copies.append((view, views[each.name]))
            stage.kernel.reference(views)
            for view, seen in copies:
                view[...] = seen.reshape(view.shape)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The stages' programs for each part and group. Raises what these raise."""
        for stage, places in self._each():
            views = {}
            for each, (_, name) in zip(stage.kernel.parameters(), stage.arrays, strict=True):
                view = arguments[name]
                for axis, index in places[name]:
                    view = view.select(axis, index)
                views[each.name] = seen_as(view, each.shape)
            stage.kernel.program(core_group, views)
            core_group.sync(stage.kernel.name)

    def _each(self) -> Iterator[tuple[Stage, dict[str, list[tuple[int, int]]]]]:
        """Every launch's stage, and for each array the axes and indices of its slice, the later axis first."""
        for part in range(self.parts):
            for group in range(self.groups):
                for number, stage in enumerate(self.stages):
                    for image in range(self.images) if number in self.by_image else (None,):
                        yield stage, {name: _places(each, part, group, image) for name, each in self.arrays}


def _places(sliced: Sliced, part: int, group: int, image: int | None) -> list[tuple[int, int]]:
    found = [(sliced.part, part), (sliced.group, group), (sliced.image, image)]
    return sorted(((axis, at) for axis, at in found if axis is not None and at is not None), reverse=True)
