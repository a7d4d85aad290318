"""The input of a training step: samples read from storage, prepared by the managing cores, ahead of the step or not.

As in Caffe, the process that fetches a batch first reads and then prepares it. With prefetching it does so while the
step before is computed, and only what takes longer than that step is seen.
"""

from __future__ import annotations

from collections.abc import Mapping as WordMapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sim.machine.spec import MachineSpec
from sim.problems import BadInput, Problem
from sim.storage.access import Access, AccessTiming, Limit, access
from sim.storage.striping import ONE_ARRAY, Striping
from workloads.datasets.storage import StoredSample
from workloads.jobs.preparation import preparation
from workloads.mapping import InputOrder, InputPlace, Mapping


@dataclass(frozen=True, kw_only=True)
class InputPlan:
    """How input comes.

    ``place``: where samples are read from in every step; from ``memory`` each node has its part of them, read once
    before. ``order``: one behind the other in a process's part of a file, or each somewhere. ``prefetch`` batches are
    fetched ahead, 0 for none. ``processes_per_node``, as many as there are MPEs at most, share a node's batch, each on
    an MPE of its own.
    """

    striping: Striping = ONE_ARRAY
    place: InputPlace = "storage"
    order: InputOrder = "sequential"
    prefetch: int = 1
    processes_per_node: int = 1

    @classmethod
    def of(cls, mapping: Mapping) -> InputPlan:
        """As a mapping says."""
        return cls(
            striping=Striping(stripes=mapping.stripes, stripe_bytes=mapping.stripe_bytes),
            place=mapping.input_from,
            order=mapping.input_order,
            prefetch=mapping.prefetch,
            processes_per_node=mapping.input_processes,
        )


@dataclass(frozen=True, kw_only=True)
class InputTiming:
    """Fetching one batch on each of the nodes. ``total_bytes`` are read by all nodes, ``storage`` says how.

    ``fetch_seconds`` is what a process needs: ``read_seconds``, then ``prepare_seconds``, then ``copy_seconds`` to
    devices with memory of their own. ``processes`` of a node's ``mpes`` (or other ``preparers``) and ``arrays`` of
    ``all_arrays`` are used.
    """

    read_seconds: float
    prepare_seconds: float
    copy_seconds: float
    total_bytes: float
    storage: AccessTiming | None
    prefetch: int
    processes: int
    mpes: int
    preparers: str
    arrays: int
    all_arrays: int

    @property
    def fetch_seconds(self) -> float:
        return self.read_seconds + self.prepare_seconds + self.copy_seconds

    def exposed_seconds(self, step_seconds: float) -> float:
        """What input adds to steps of ``step_seconds`` each, in the long run.

        However many batches lie ready, one has to be fetched per step.
        """
        return max(0.0, self.fetch_seconds - step_seconds) if self.prefetch else self.fetch_seconds

    def needed_bytes_per_second(self, step_seconds: float) -> float:
        """Bandwidth for all nodes with which reading, before preparing, is just through within a step.

        Infinite if preparing alone takes longer.
        """
        if not self.total_bytes:
            return 0.0
        left = step_seconds - self.prepare_seconds - self.copy_seconds
        return self.total_bytes / left if left > 0 else float("inf")

    @property
    def available_bytes_per_second(self) -> float | None:
        """What all nodes get from storage together; None where they do not ask for anything."""
        return self.storage.bytes_per_second if self.storage is not None else None

    def limit(self, step_seconds: float) -> str | None:
        """What input is held back by in words, with a way out if there is one; None if it is ready in time."""
        if self.exposed_seconds(step_seconds) <= 0:
            return None
        if self.copy_seconds > max(self.read_seconds, self.prepare_seconds):
            return "copies of samples from the host to the devices"
        if self.prepare_seconds >= self.read_seconds or self.storage is None:
            return f"preparation of samples on {_of(self.processes, self.mpes, self.preparers, 'input_processes')}"
        if self.storage.limit == "arrays":
            kept = " (--set mapping.input_from=memory keeps the data in the nodes)"
            return _of(self.arrays, self.all_arrays, "disk arrays", "stripes", kept)
        return WORDS[self.storage.limit]


WORDS: Final[WordMapping[Limit, str]] = MappingProxyType(
    {
        "process": "what one process reads alone",
        "forwarding": "forwarding nodes of storage",
        "metadata": "metadata servers, one open per sample,",
    }
)


def _of(used: int, there: int, noun: str, setting: str, otherwise: str = "") -> str:
    """``32 of 144 disk arrays (--set mapping.stripes=144 takes all)``; ``otherwise`` is the way out of all of them."""
    if used >= there:
        return f"all {there} {noun}{otherwise}"
    return f"{used} of {there} {noun} (--set mapping.{setting}={there} takes all)"


def input_timing(
    *,
    machine: MachineSpec,
    plan: InputPlan,
    stored: StoredSample,
    numbers: int,
    samples: int,
    nodes: int,
    item_bytes: int,
) -> InputTiming:
    """Time of fetching ``samples`` samples on each of ``nodes`` nodes; the network takes ``numbers`` of each sample.

    ``item_bytes``: of one of them.

    A data set in more than one file costs one open per sample. Samples that are generated cost nothing here.
    """
    mpes, devices = machine.computing.preparing_cores, machine.roofline
    processes = min(plan.processes_per_node, mpes, samples)
    each = -(-samples // processes)
    reading = None
    if plan.place == "storage" and stored.bytes_per_sample:
        many = stored.files > 1
        scattered = many or plan.order == "random"
        reading = access(
            machine.storage,
            Access(
                processes=nodes * processes,
                size=each * stored.bytes_per_sample,
                striping=plan.striping,
                apart=True,
                places=each if scattered else 1,
                opens=each if many else 0,
            ),
        )
    one = preparation(stored).seconds(machine.computing) if stored.bytes_per_sample else 0.0
    return InputTiming(
        read_seconds=0.0 if reading is None else reading.seconds,
        prepare_seconds=each * numbers * one,
        copy_seconds=0.0 if devices is None else samples * numbers * item_bytes / devices.host.device_bytes_per_second,
        total_bytes=nodes * samples * stored.bytes_per_sample if reading is not None else 0.0,
        storage=reading,
        prefetch=plan.prefetch,
        processes=processes,
        mpes=mpes,
        preparers="MPEs" if devices is None else "host cores",
        arrays=min(plan.striping.stripes, machine.storage.arrays),
        all_arrays=machine.storage.arrays,
    )


def check_resident(
    *, machine: MachineSpec, mapping: Mapping, stored: StoredSample, samples: int, nodes: int, step_bytes: int
) -> None:
    """Raise BadInput if samples are to come from memory and a node's part of all ``samples`` does not fit.

    ``step_bytes``: what a step needs on each core group.
    """
    if mapping.input_from != "memory":
        return
    groups, capacity = machine.computing.compute_units, machine.computing.unit_memory_bytes
    free = groups * (capacity - step_bytes)
    part = stored.bytes_per_sample * samples
    if part > free * nodes:
        least = -int(-part // free) if free > 0 else None
        fits = f"or at least {least:,} nodes" if least is not None and least <= machine.nodes else "which always works"
        expected = (
            f"storage, {fits}: a node's part of the data is {part / nodes:.3g} B, beside the step there are {free} B"
        )
        file = f"mapping {mapping.name}"
        raise BadInput([Problem(file=file, key="input_from", value=f"memory on {nodes:,} nodes", expected=expected)])


def loading_seconds(*, machine: MachineSpec, plan: InputPlan, stored: StoredSample, samples: int, nodes: int) -> float:
    """Seconds to read a data set of ``samples`` samples once, each of ``nodes`` nodes its part, into their memory."""
    if not (stored.bytes_per_sample and samples):
        return 0.0
    processes = nodes * min(plan.processes_per_node, machine.computing.preparing_cores)
    part = -(-samples // processes)
    request = Access(
        processes=processes,
        size=part * stored.bytes_per_sample,
        striping=plan.striping,
        places=part if stored.files > 1 else 1,
        opens=part if stored.files > 1 else 0,
    )
    return access(machine.storage, request).seconds
