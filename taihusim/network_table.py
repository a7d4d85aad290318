"""A model layer by layer: what each computes, learns and keeps."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from nnlib.graph import Graph
from nnlib.lowering import lower_forward, lower_gradients
from nnlib.model import Model
from nnlib.models.schema import type_name
from nnlib.precision import DTYPES, DTypeName


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer. ``multiply_accumulates`` and ``activation_bytes`` (of its output) are per sample."""

    layer: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int
    multiply_accumulates: int
    activation_bytes: int


@dataclass(frozen=True, kw_only=True)
class NetworkTable:
    """All layers, and the main memory that a core group needs for ``batch`` samples, in training and in inference."""

    rows: tuple[LayerRow, ...]
    batch: int
    training_bytes: int | None
    inference_bytes: int

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_accumulates(self) -> int:
        return sum(row.multiply_accumulates for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        return sum(row.activation_bytes for row in self.rows)


def network_table(model: Model, *, batch: int, dtype: DTypeName) -> NetworkTable:
    """Count every layer, and lower the model for ``batch`` samples to see what memory it takes.

    ``training_bytes`` is None for a model without losses.
    """
    training = lower_gradients(model=model, batch=batch, dtype=dtype).memory_bytes if model.losses else None
    return NetworkTable(
        rows=layer_rows(model.graph, dtype=dtype),
        batch=batch,
        training_bytes=training,
        inference_bytes=lower_forward(graph=model.graph, batch=batch, dtype=dtype).memory_bytes,
    )


def layer_rows(graph: Graph, *, dtype: DTypeName) -> tuple[LayerRow, ...]:
    """The layers in order."""
    return tuple(
        LayerRow(
            layer=node.name,
            kind=type_name(type(node.layer)),
            inputs=node.inputs,
            shape=graph.shapes[node.name],
            parameters=sum(map(prod, graph.parameter_shapes(node.name).values())),
            multiply_accumulates=graph.multiply_accumulates.get(node.name, 0),
            activation_bytes=prod(graph.shapes[node.name]) * DTYPES[dtype].itemsize,
        )
        for node in graph.nodes
    )
