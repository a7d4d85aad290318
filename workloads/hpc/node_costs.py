"""What a launch, a kernel and a copy take inside a node, in picoseconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import Kernel
from sim.machine.spec import ProcessorSpec
from sim.time import seconds_from_ticks
from workloads.hpc.durations import Picoseconds, picoseconds


def launch_time(processor: ProcessorSpec, *, persistent_threads: bool) -> int:
    """Before a kernel runs: threads that stay meet through flags, others are spawned and joined."""
    return int(picoseconds(processor.group_sync_seconds if persistent_threads else processor.mpe.launch_seconds))


def kernel_time(kernel: Kernel, clock: KernelClock) -> int:
    """On one core group, once it runs."""
    ticks = clock.time(kernel).ticks
    return int(picoseconds(seconds_from_ticks(ticks, clock_hertz=clock.processor.clock_hertz)))


def copy_time(processor: ProcessorSpec, moved: NDArray[np.int64] | int, *, mpes: int = 1) -> Picoseconds:
    """``moved`` bytes that so many MPEs copy from memory to memory."""
    return picoseconds(moved / (mpes * processor.mpe.copy_bytes_per_second))
