"""Several kernels one after the other over parts of a batch, in one launch: what they hand on is only a part's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nnlib.kernels.batched import plane
from nnlib.kernels.kernel import Arguments, Kernel, Parameter, Use
from nnlib.precision import StorageName
from sim.chip.memory import Array

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class Stage:
    """A kernel, and the array behind each of its parameters: (parameter, array) in the order of the parameters."""

    kernel: Kernel
    arrays: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, kernel: Kernel, **arrays: str) -> Stage:
        """``arrays`` by parameter."""
        return cls(kernel, tuple((each.name, arrays[each.name]) for each in kernel.parameters()))


def stage_parameters(stages: Sequence[Stage]) -> tuple[Parameter, ...]:
    """Every array of ``stages`` once, in the order in which it is first met, as its first kernel has it.

    One that is read and later written is both; one that is written before any other stage reads it counts as written.
    """
    found: dict[str, Parameter] = {}
    for stage in stages:
        for each, (_, name) in zip(stage.kernel.parameters(), stage.arrays, strict=True):
            known = found.get(name)
            if known is None:
                found[name] = replace(each, name=name)
            elif known.use == "in" and each.use != "in":
                use: Use = "inout"
                found[name] = replace(known, use=use)
    return tuple(found.values())


@dataclass(frozen=True, kw_only=True)
class Chained:
    """``stages`` for each of ``parts`` parts, which have a plane each of the ``divided`` arrays, and all of the others.

    What one stage writes and a later one reads lies in an array as large as one part needs. The CPEs wait for one
    another between the stages.
    """

    label: str
    stages: tuple[Stage, ...]
    parts: int
    divided: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.label

    @property
    def dtype(self) -> StorageName:
        return self.stages[0].kernel.dtype

    def parameters(self) -> tuple[Parameter, ...]:
        """Every array once; one that a stage writes before any other reads it counts as written."""
        return tuple(
            replace(each, shape=(self.parts, *each.shape)) if each.name in self.divided else each
            for each in stage_parameters(self.stages)
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The stages' for each part."""
        for part in range(self.parts):
            for stage in self.stages:
                views = {}
                for each, (_, name) in zip(stage.kernel.parameters(), stage.arrays, strict=True):
                    whole = arrays[name][part] if name in self.divided else arrays[name]
                    views[each.name] = whole.view()
                    views[each.name].shape = each.shape
                stage.kernel.reference(views)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The stages' programs for each part. Raises what these raise."""
        # every part begins with buffers of its own, all CPEs together
        for part in core_group.loop(self.name, self.parts, steady=range(self.parts), buffers=1):
            for stage in self.stages:
                parts = {}
                for each, (_, name) in zip(stage.kernel.parameters(), stage.arrays, strict=True):
                    whole = arguments[name]
                    own = plane(whole, part) if name in self.divided else whole
                    parts[each.name] = own.reshape(*each.shape)
                stage.kernel.program(core_group, parts)
                core_group.sync(stage.kernel.name)
