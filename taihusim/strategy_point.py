"""What a prediction says of a parallel strategy beside the step's time."""

from __future__ import annotations

from typing import Any

from taihusim.node_steps import NodeSteps


def strategy_fields(steps: NodeSteps, *, global_batch: int, nodes: int, seed: int | None) -> dict[str, Any] | None:
    """Seconds of a rank's step, on average, by what they are lost to, and the stages; None for data parallelism."""
    if steps.mapping.strategy.is_data:
        return None
    found = steps.under_strategy(global_batch, nodes, seed=seed)
    return {
        "replicas": found.replicas,
        "neighbours": found.near,
        "reading_nodes": found.reading_nodes,
        "samples_per_reading_node": found.samples_per_reading_node,
        "micro_batches": found.micro_batches,
        "samples_per_micro_batch": found.samples_per_micro_batch,
        "bubble_seconds": found.bubble_seconds,
        "tensor_exchange_seconds": found.tensor_seconds,
        "pipeline_message_seconds": found.pipeline_seconds,
        "replica_exchange_seconds": found.replica_seconds,
        "jitter_seconds": None if seed is None else found.jitter_seconds,
        "layers_not_divided": dict(found.replicated),
        "stages": [
            {
                "first_layer": stage.first_layer,
                "last_layer": stage.last_layer,
                "forward_seconds": stage.forward_seconds,
                "backward_seconds": stage.backward_seconds,
                "exchange_seconds": stage.exchange_seconds,
                "parameters": stage.parameters,
                "memory_bytes_per_core_group": stage.memory.total,
            }
            for stage in found.stages
        ],
    }
