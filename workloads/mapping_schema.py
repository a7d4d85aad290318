"""The keys of a mapping file: how a workload is put on a machine."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from nnlib.backend import Backend
from nnlib.precision import PrecisionName
from nnlib.precision.calibration import Method
from nnlib.precision.fixed import Rounding
from sim.machine.quantity import Bytes, Count, CountOrZero, Whole

Collective: TypeAlias = Literal[
    "halving_doubling",
    "halving_doubling_far",
    "halving_doubling_round_robin",
    "recursive_doubling",
    "ring",
    "hierarchical",
    "binomial_tree",
    "parameter_server",
]
LibraryGeneration: TypeAlias = Literal["autotuned-2019"]
Numerics: TypeAlias = Literal["tile", "layer", "off"]
InputPlace: TypeAlias = Literal["storage", "memory"]
ReductionOrder: TypeAlias = Literal["auto", "schedule", "pairwise"]


def _one_or_four(value: Any) -> Any:
    if isinstance(value, bool) or value not in (1, 4):
        raise ValueError("1 (one rank for the whole chip) or 4 (one for each core group)")
    return value


class MappingFile(BaseModel):
    """A whole mapping file. ``gradient_buckets`` and ``stripe_size`` are in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[str, Field(min_length=1)]
    batch_per_node: Count | None
    global_batch: Count | None
    ranks_per_node: Annotated[int, BeforeValidator(_one_or_four)]
    collective: Collective
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
    overlap: StrictBool
    persistent_threads: StrictBool
    recompute: StrictBool
    input_from: InputPlace
    input_processes: Count
    prefetch: CountOrZero
    stripes: Count
    stripe_size: Bytes
