"""A plan of several kernels: which it launches one after the other, and the arrays they hand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nnlib.kernels.kernel import Kernel, empty_array
from nnlib.kernels.simulation import compute_kernel
from sim.chip.memory import Array
from sim.machine.spec import ProcessorSpec


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One launch: its kernel, and the array behind each of the kernel's parameters."""

    kernel: Kernel
    arrays: Mapping[str, str]

    @classmethod
    def of(cls, kernel: Kernel, **arrays: str) -> Launch:
        """``arrays`` by parameter; one that is not named lies in the array of its own name."""
        return cls(kernel=kernel, arrays={each.name: arrays.get(each.name, each.name) for each in kernel.parameters()})

    def views(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """The kernel's arguments among ``arrays``, under its shapes; those that are new there are NaN-filled."""
        found = {}
        for parameter in self.kernel.parameters():
            name = self.arrays[parameter.name]
            if name not in arrays:
                arrays[name] = empty_array(self.kernel, parameter)
            view = arrays[name].view()
            view.shape = parameter.shape  # raises where it would have to copy
            found[parameter.name] = view
        return found


def compute_launches(launches: Iterable[Launch], *, processor: ProcessorSpec, arrays: dict[str, Array]) -> None:
    """Compute each launch in the tiles, on the arrays that it names; new ones come into ``arrays``."""
    for launch in launches:
        compute_kernel(launch.kernel, processor=processor, data=launch.views(arrays))
