"""What a core group's MPE does by itself: copy and clear memory. Launches are in the processor.

A copy between the memories of two core groups is such a copy too. No latency or bandwidth of the network between the
core groups is published; core groups that read one another's memory by DMA have the factors of shared memory mode.
"""

from __future__ import annotations

from sim.machine.spec import ProcessorSpec


def copy_seconds(processor: ProcessorSpec, *, nbytes: int) -> float:
    """Copying ``nbytes`` from memory to memory (9.9 GB/s, SWCAFFE)."""
    return nbytes / processor.mpe.copy_bytes_per_second


def clear_seconds(processor: ProcessorSpec, *, nbytes: int) -> float:
    """Setting ``nbytes`` to zero: half of what a copy moves."""
    return nbytes / processor.mpe.copy_bytes_per_second / 2
