"""The keys of a mapping file: how a workload is put on a machine."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from nnlib.backend import Backend
from nnlib.precision import PrecisionName
from nnlib.precision.calibration import Method
from nnlib.precision.fixed import Rounding
from sim.machine.quantity import Bytes, BytesOrZero, Count, CountOrZero, Whole
from sim.network.choices import Adder, Packing
from workloads.mapping import (
    Collective,
    Communication,
    InputOrder,
    InputPlace,
    LibraryGeneration,
    Numerics,
    ReductionOrder,
)


def _one_or_four(value: Any) -> Any:
    if isinstance(value, bool) or value not in (1, 4):
        raise ValueError("1 (one rank for the whole chip) or 4 (one for each core group)")
    return value


class MappingFile(BaseModel):
    """A whole mapping file. ``gradient_buckets``, ``message_segment`` and ``stripe_size`` are in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    title: Annotated[str, Field(min_length=1)]
    batch_per_node: Count | None
    global_batch: Count | None
    ranks_per_node: Annotated[int, BeforeValidator(_one_or_four)]
    tensor: Count
    pipeline: Count
    micro_batches: Count | None
    optimizer_sharding: StrictBool
    communication: Communication | None
    collective: Collective | None
    reduction_by: Adder | None
    reduction_overlap: StrictBool | None
    packing: Packing | None
    message_segment: BytesOrZero
    segments_in_flight: Count
    library: LibraryGeneration
    precision: PrecisionName
    rounding: Rounding
    master_copy: StrictBool
    weight_fraction_bits: Annotated[int, Whole(least=0)]
    calibration: Method
    numerics: Numerics
    backend: Backend
    reduction_order: ReductionOrder
    gradient_buckets: Bytes
    overlap: StrictBool | None
    persistent_threads: StrictBool
    recompute: StrictBool
    input_from: InputPlace
    input_order: InputOrder
    input_processes: Count
    prefetch: CountOrZero
    stripes: Count
    stripe_size: Bytes
