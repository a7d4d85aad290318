"""Which times of a chip a kernel's own time depends on: on a chip that differs in others it takes as long.

With its plan kept, a kernel does the same there: it need not be simulated again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final

from sim.chip.counters import KernelTiming
from sim.machine.spec import MemorySpec, PipelineSpec, ProcessorSpec

RESIDUALS: Final = "k_step_residuals"
NOTED: Final = ("cpe.pipeline.", "memory.")
"""Where the key begins of what is noted when it is read."""
OUTSIDE: Final = ("mpe.", "group_sync_seconds")
"""What is around kernels."""


def differences(one: Any, other: Any, prefix: str = "") -> Iterator[str]:
    """The keys at which two descriptions of a type differ; residuals by library."""
    for each in fields(one):
        before, after = getattr(one, each.name), getattr(other, each.name)
        if before == after:
            continue
        if each.name == RESIDUALS:
            mine, others = dict(before), dict(after)
            yield from (
                f"{prefix}{each.name}.{name}" for name in {*mine, *others} if mine.get(name) != others.get(name)
            )
        elif is_dataclass(before) and type(before) is type(after):
            yield from differences(before, after, f"{prefix}{each.name}.")
        else:
            yield f"{prefix}{each.name}"


def may_differ(timing: KernelTiming, *, chip: ProcessorSpec, other: ProcessorSpec, read: frozenset[str]) -> bool:
    """Whether a kernel that takes ``timing`` on ``chip`` could take another time on ``other`` under the same plan.

    ``read``: what :func:`noting` noted of it.
    """
    return any(_matters(key, timing, chip, other, read) for key in differences(chip, other))


def _matters(key: str, timing: KernelTiming, chip: ProcessorSpec, other: ProcessorSpec, read: frozenset[str]) -> bool:
    match key:
        case "mesh.latency_cycles":  # whoever communicates or meets has waited for it, if that takes any time
            return any(timing.reasons["mesh"]) or not chip.mesh.latency_cycles
        case "mesh.sync_cycles":
            return any(timing.reasons["sync"]) or not chip.mesh.sync_cycles
        case "dma.pending_per_cpe":  # who never waits for a place in its channel needs no more of them
            return any(timing.reasons["dma_queue"]) or other.dma.pending_per_cpe < chip.dma.pending_per_cpe
        case _ if key.startswith(NOTED):
            return key in read
        case _:
            return not key.startswith(OUTSIDE)


def noting(chip: ProcessorSpec, read: set[str]) -> ProcessorSpec:
    """``chip`` with latencies that put their keys into ``read`` when they are read, but for those that all kernels use.

    It equals no other chip: what is remembered for others is made again for it.
    """
    pipeline = _NotingPipeline(**vars(chip.cpe.pipeline))
    memory = _NotingMemory(**vars(chip.memory))
    for each in (pipeline, memory):
        object.__setattr__(each, "read", read)
    return replace(chip, cpe=replace(chip.cpe, pipeline=pipeline), memory=memory)


class _NotingPipeline(PipelineSpec):
    """Notes what is read of it."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __getattribute__(self, name: str) -> Any:
        _note(self, "cpe.pipeline.", name)
        return object.__getattribute__(self, name)

    def k_step_residual(self, library: str) -> float:
        """Notes only the residual of the library."""
        _note(self, f"cpe.pipeline.{RESIDUALS}.", library)
        residuals: dict[str, float] = dict(object.__getattribute__(self, RESIDUALS))
        return residuals.get(library, 0.0)


class _NotingMemory(MemorySpec):
    """Notes what is read of it."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __getattribute__(self, name: str) -> Any:
        _note(self, "memory.", name)
        return object.__getattribute__(self, name)


def _note(spec: object, prefix: str, name: str) -> None:
    read = object.__getattribute__(spec, "__dict__").get("read")
    if read is not None:
        read.add(f"{prefix}{name}")
