"""The keys of a model's layers in a workload file."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from sim.machine.quantity import Count, Whole

CountOrZero = Annotated[int, Whole(least=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None


class LayerSection(BaseModel):
    """What every layer may say: its name; by default its type and number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = None


class Conv2dKeys(LayerSection):
    """A square convolution."""

    type: Literal["conv2d"]
    channels: Count
    kernel: Count
    stride: Count = 1
    padding: CountOrZero = 0
    bias: StrictBool = True


class LinearKeys(LayerSection):
    """A fully connected layer."""

    type: Literal["linear"]
    units: Count
    bias: StrictBool = True


class MaxPoolKeys(LayerSection):
    """Max pooling over square windows, by default side by side."""

    type: Literal["maxpool"]
    kernel: Count
    stride: Count | None = None


class ReluKeys(LayerSection):
    """Rectified linear units."""

    type: Literal["relu"]


class FlattenKeys(LayerSection):
    """Images to vectors."""

    type: Literal["flatten"]


LayerKeys: TypeAlias = Annotated[
    Conv2dKeys | LinearKeys | MaxPoolKeys | ReluKeys | FlattenKeys, Field(discriminator="type")
]
