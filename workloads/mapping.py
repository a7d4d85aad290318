"""A mapping: how a workload is put on a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from nnlib.backend import Backend
from nnlib.precision import DTypeName, IntegerName, PrecisionName
from sim.network.choices import REDUCE_BROADCAST, Adder, Choices, Packing
from sim.problems import BadInput, Problem
from workloads.parallel.strategy import Strategy

if TYPE_CHECKING:  # few networks are of integers
    from nnlib.precision.calibration import Method
    from nnlib.precision.fixed import Rounding
    from nnlib.quantised.scheme import FixedScheme

DEFAULT_MAPPING: Final = "default"
Collective: TypeAlias = Literal[
    "mpich",
    "reduce_broadcast",
    "in_network",
    "halving_doubling",
    "halving_doubling_far",
    "halving_doubling_round_robin",
    "recursive_doubling",
    "ring",
    "hierarchical",
    "binomial_tree",
    "parameter_server",
]
Communication: TypeAlias = Literal["swcaffe-2018", "swcaffe-2019", "autotuned-2019", "stock-mpi"]
LibraryGeneration: TypeAlias = Literal["swcaffe-2018", "swcaffe-2019", "autotuned-2019", "searched-2019"]
Numerics: TypeAlias = Literal["tile", "layer", "off"]
InputOrder: TypeAlias = Literal["sequential", "random"]
InputPlace: TypeAlias = Literal["storage", "memory"]
ReductionOrder: TypeAlias = Literal["auto", "schedule", "pairwise"]


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """How a workload runs. ``bucket_bytes`` is the size of a gradient bucket in bytes, ``stripe_bytes`` of a stripe.

    At most one of ``batch_per_node`` and ``global_batch`` is set; neither means what the recipe says. What a file
    leaves open about communication is what the library does.
    """

    name: str
    title: str
    batch_per_node: int | None
    global_batch: int | None
    ranks_per_node: int
    tensor: int
    pipeline: int
    micro_batches: int | None
    optimizer_sharding: bool
    communication: Communication
    collective: Collective
    reduction_by: Adder
    reduction_overlap: bool
    packing: Packing
    segment_bytes: int | None
    segments_in_flight: int
    library: LibraryGeneration
    precision: PrecisionName
    rounding: Rounding
    master_copy: bool
    weight_fraction_bits: int
    calibration: Method
    numerics: Numerics
    backend: Backend
    reduction_order: ReductionOrder
    bucket_bytes: int
    overlap: bool
    persistent_threads: bool
    recompute: bool
    input_from: InputPlace
    input_order: InputOrder
    input_processes: int
    prefetch: int
    stripes: int
    stripe_bytes: int

    @property
    def strategy(self) -> Strategy:
        """How the work of a step is divided among ranks."""
        return Strategy(
            tensor=self.tensor,
            pipeline=self.pipeline,
            micro_batches=self.micro_batches,
            optimizer_sharding=self.optimizer_sharding,
        )

    @property
    def communication_choices(self) -> Choices:
        """What is asked of the communication scheme."""
        return Choices(
            collective=self.collective,
            reduction_by=self.reduction_by,
            reduction_overlap=self.reduction_overlap,
            packing=self.packing,
            overlap=self.overlap,
            segment_bytes=self.segment_bytes,
            in_flight=self.segments_in_flight,
        )

    @property
    def summation(self) -> str:
        """The all-reduce in whose order the collective adds."""
        return "binomial_tree" if self.collective == REDUCE_BROADCAST else self.collective

    @property
    def dtype(self) -> DTypeName:
        """What kernels of floating-point numbers store; integers come from and become fp64."""
        return "fp32" if self.precision in ("fp32", "fp32-fp64") else "fp64"

    @property
    def integers(self) -> IntegerName | None:
        """The format of a network in integers, None for one of floating-point numbers."""
        match self.precision:
            case "int16" | "int8" as name:
                return name
        return None

    @property
    def fixed(self) -> FixedScheme | None:
        """How a network learns in fixed point, None where it has floating-point numbers."""
        if self.integers is None:
            return None
        from nnlib.precision.fixed import FixedPoint
        from nnlib.quantised.scheme import FixedScheme

        weights = FixedPoint(self.integers, self.weight_fraction_bits)
        return FixedScheme(weights=weights, rounding=self.rounding, master=self.master_copy)

    def samples_per_node(self, *, nodes: int, recipe_batch_per_node: int) -> int:
        """Samples each of ``nodes`` nodes computes in a step.

        Raises BadInput when the global batch cannot be shared equally.
        """
        if self.global_batch is None:
            return self.batch_per_node or recipe_batch_per_node
        if self.global_batch % nodes:
            file, value = f"mapping {self.name}", self.global_batch
            expected = f"a multiple of the {nodes:,} nodes, so that every node has the same share"
            raise BadInput([Problem(file=file, key="global_batch", value=value, expected=expected)])
        return self.global_batch // nodes

    def step_samples(self, *, nodes: int, recipe_batch_per_node: int) -> int:
        """Samples of a step on all of ``nodes`` nodes together, which under a strategy need not be some for each node.

        Raises BadInput as :meth:`samples_per_node` where every node has its own.
        """
        if self.global_batch is not None and not self.strategy.is_data:
            return self.global_batch
        return nodes * self.samples_per_node(nodes=nodes, recipe_batch_per_node=recipe_batch_per_node)
