"""The fields of a run record. Further fields may be added, in every place; these stay as they are.

Units are in the names. Times are simulated unless the name begins with ``host_``. What is not known is null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
Kind: TypeAlias = Literal["train", "infer"]
WholeNumber = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True)]


class Fields(BaseModel):
    """A group of fields, in the order in which they are written."""

    model_config = ConfigDict(extra="allow", frozen=True)


class CurvePoint(Fields):
    """One evaluation during training: ``seconds`` simulated and ``samples`` computed so far."""

    seconds: Number | None
    samples: WholeNumber
    loss: Number | None
    accuracy: Number | None


class TrainRun(Fields):
    """One training run on ``nodes`` nodes."""

    nodes: WholeNumber
    core_groups: WholeNumber
    cores: WholeNumber
    global_batch: WholeNumber
    steps: WholeNumber
    final_loss: Number | None
    test_accuracy: Number | None
    reached: bool | None
    seconds_per_step: Number | None
    seconds_total: Number | None
    seconds_to_target: Number | None
    energy_joules: Number | None
    shares: dict[str, Number | None]
    efficiency: Number | None
    bottleneck: str | None
    curve: list[CurvePoint]
    weights_sha256: str | None
    host_seconds_timing: Number | None
    host_seconds_numerics: Number | None


class InferPoint(Fields):
    """Inference on ``nodes`` nodes with ``batch`` samples at a time. Latencies are in seconds."""

    nodes: WholeNumber
    cores: WholeNumber
    batch: WholeNumber
    seconds_per_batch: Number | None
    samples_per_second: Number | None
    efficiency: Number | None
    latency_p50: Number | None
    latency_p99: Number | None
    bottleneck: str | None


class TrainResult(Fields):
    """What ``taihusim train --json`` prints."""

    workload: str
    machine: str
    seed: WholeNumber
    runs: list[TrainRun]


class InferResult(Fields):
    """What ``taihusim infer --json`` prints. ``outputs`` is the file of the model's outputs."""

    workload: str
    machine: str
    points: list[InferPoint]
    outputs: str | None


class RecordFields(Fields):
    """What every record says about how its result came about."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    kind: Kind
    version: str
    seed: WholeNumber
    machine: dict[str, Any]
    workload: dict[str, Any]
    mapping: dict[str, Any]


class TrainRecord(RecordFields):
    """A record of kind ``train``."""

    result: TrainResult


class InferRecord(RecordFields):
    """A record of kind ``infer``."""

    result: InferResult
