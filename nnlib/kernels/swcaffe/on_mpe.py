"""Work that the MPE did by itself: no threads are spawned, a scalar loop goes over the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.chained import Stage, stage_parameters
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.precision import STORAGE, StorageName
from sim.chip.memory import Array
from sim.chip.mpe import clear_seconds
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True, kw_only=True)
class OnMpe:
    """What ``stages`` compute, whole arrays one after the other, in a scalar loop over ``elements`` numbers.

    ``cycles``: of the MPE for each of them, ``plane_cycles`` for each of ``planes`` runs of them. ``planar``: arrays of
    which each of the first axis's matrices lies transposed: images as (batch, channels, pixels) instead of
    (batch, pixels, channels), or, with a first axis of one, a matrix.
    """

    label: str
    stages: tuple[Stage, ...]
    elements: int
    cycles: float
    planes: int = 0
    plane_cycles: float = 0.0
    planar: tuple[tuple[str, tuple[int, int, int]], ...] = ()

    @property
    def name(self) -> str:
        return self.label

    @property
    def dtype(self) -> StorageName:
        return self.stages[0].kernel.dtype

    def parameters(self) -> tuple[Parameter, ...]:
        return stage_parameters(self.stages)

    def mpe_seconds(self, processor: ProcessorSpec) -> float:
        """Time of the MPE, which runs it by itself."""
        return (self.elements * self.cycles + self.planes * self.plane_cycles) / processor.clock_hertz

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The stages' references, images seen with their channels last."""
        turned = {
            name: np.ascontiguousarray(arrays[name].reshape(a, c, b).swapaxes(1, 2)) for name, (a, b, c) in self.planar
        }
        for stage in self.stages:
            views = {}
            for each, (_, name) in zip(stage.kernel.parameters(), stage.arrays, strict=True):
                views[each.name] = turned.get(name, arrays[name]).reshape(each.shape)
            stage.kernel.reference(views)
        for name, _ in self.planar:
            arrays[name][...] = turned[name].swapaxes(1, 2).reshape(arrays[name].shape)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The numbers alone: no CPE has any part in it, and its time is :meth:`mpe_seconds`."""
        if core_group.numerics:
            arrays = {name: array.data for name, array in arguments.items()}
            self.reference({name: array for name, array in arrays.items() if array is not None})


@dataclass(frozen=True, kw_only=True)
class Clear:
    """Set an array to zero before parts are added to it."""

    elements: int
    dtype: StorageName

    @property
    def name(self) -> str:
        return "clear"

    @property
    def nbytes(self) -> int:
        return self.elements * STORAGE[self.dtype].itemsize

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("x", (self.elements,), "out"),)

    def mpe_seconds(self, processor: ProcessorSpec) -> float:
        """Time of the MPE, which runs it by itself."""
        return clear_seconds(processor, nbytes=self.nbytes)

    def reference(self, arrays: Mapping[str, Array]) -> None:
        arrays["x"][...] = 0

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        data = arguments["x"].data
        if core_group.numerics and data is not None:
            data[...] = 0
