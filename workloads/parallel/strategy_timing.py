"""A training step under a strategy, in the form that data parallelism has, and what only strategies have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workloads.jobs.node_step import NodeMemory, NodeStep, node_step_of
from workloads.jobs.training_step import StepTiming
from workloads.parallel.placement import Near


@dataclass(frozen=True, kw_only=True)
class StageTiming:
    """One stage: its first and last layer, a micro-batch's passes with what its tensor ranks exchange, and memory."""

    first_layer: str
    last_layer: str
    forward_seconds: float
    backward_seconds: float
    exchange_seconds: float
    parameters: int
    memory: NodeMemory


@dataclass(frozen=True, kw_only=True)
class StrategyTiming:
    """A step under a strategy. ``timing`` and ``node``: as of data parallelism, means over the stages.

    ``near``: whether the replicas of a stage or the stages of a replica are neighbours, if there are several of both.
    ``reading_nodes`` have ranks of the first stage and read samples, none more than ``samples_per_reading_node``.

    Seconds of a rank's step, on average: ``bubble_seconds`` waiting for other stages, ``tensor_seconds`` exchanging
    within layers, ``pipeline_seconds`` later because tensors are handed on, ``replica_seconds`` exposed while gradients
    and weights are, ``jitter_seconds`` because some rank is late. ``node.memory`` is that of the stage that needs most.
    ``replicated``: layers with matrix products that every rank of a tensor group computes whole, and why.
    """

    timing: StepTiming
    node: NodeStep
    replicas: int
    near: Near | None
    reading_nodes: int
    samples_per_reading_node: int
    micro_batches: int
    samples_per_micro_batch: int
    stages: tuple[StageTiming, ...]
    bubble_seconds: float
    tensor_seconds: float
    pipeline_seconds: float
    replica_seconds: float
    jitter_seconds: float
    replicated: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain values, from which :func:`strategy_timing_of` makes the same again, to the bit."""
        return asdict(self)


def strategy_timing_of(fields: Mapping[str, Any]) -> StrategyTiming:
    """The timing of :meth:`StrategyTiming.as_json`. Raises TypeError or KeyError for other values."""
    stages = [StageTiming(**{**each, "memory": NodeMemory(**each["memory"])}) for each in fields["stages"]]
    parts = {"timing": StepTiming(**fields["timing"]), "node": node_step_of(fields["node"]), "stages": tuple(stages)}
    return StrategyTiming(**{**fields, **parts})
