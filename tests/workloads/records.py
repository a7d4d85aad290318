"""Made-up records for tests: smooth curves, plausible sizes."""

from __future__ import annotations

import math
from typing import Any

from workloads.record import RunRecord

NODES = (1, 16, 256, 4096, 40960)


def train_record(nodes: tuple[int, ...] = NODES, *, reached: bool = True, host_seconds: float = 1.0) -> RunRecord:
    """A training record whose step time grows with the logarithm of the nodes."""
    runs = [_run(each, reached=reached, host_seconds=host_seconds) for each in nodes]
    return _record("train", {"seed": 0, "runs": runs})


def infer_record(nodes: tuple[int, ...] = NODES) -> RunRecord:
    """An inference record that scales perfectly."""
    points = [
        {
            "nodes": each,
            "cores": 260 * each,
            "batch": 64,
            "seconds_per_batch": 1e-3,
            "samples_per_second": 64e3 * each,
            "efficiency": 1.0,
            "latency_p50": 1e-3,
            "latency_p99": 1e-3,
            "bottleneck": None,
        }
        for each in nodes
    ]
    return _record("infer", {"points": points, "outputs": None})


def _record(kind: Any, result: dict[str, Any]) -> RunRecord:
    return RunRecord(
        kind=kind,
        version="0.1.0",
        seed=0,
        machine={"name": "sunway_taihulight", "title": "Sunway TaihuLight"},
        workload={"name": "digits", "title": "Handwritten digits", "recipe": {"until_accuracy": 0.97}},
        mapping={"collective": "halving_doubling", "library": "autotuned-2019", "precision": "fp64"},
        result={"workload": "digits", "machine": "sunway_taihulight", **result},
    )


def _run(nodes: int, *, reached: bool, host_seconds: float) -> dict[str, Any]:
    seconds = 1.2e-3 + 2e-4 * math.log2(nodes)
    steps = int(800 / nodes**0.35) + 12
    curve = [
        {
            "seconds": step * seconds,
            "samples": 16 * nodes * step,
            "loss": 2.3 * math.exp(-5 * step / steps),
            "accuracy": 0.1 + 0.875 * (1 - math.exp(-5 * step / steps)),
        }
        for step in range(0, steps, max(1, steps // 20))
    ]
    return {
        "nodes": nodes,
        "core_groups": 4 * nodes,
        "cores": 260 * nodes,
        "global_batch": 16 * nodes,
        "steps": steps,
        "final_loss": 0.1,
        "test_accuracy": 0.97,
        "reached": reached,
        "seconds_per_step": seconds,
        "seconds_total": seconds * steps,
        "seconds_to_target": seconds * steps if reached else None,
        "energy_joules": 375.0 * nodes * seconds * steps,
        "shares": {"compute": 0.4, "dma_wait": 0.2, "communication_exposed": 0.4},
        "efficiency": 0.5,
        "bottleneck": "communication",
        "curve": curve,
        "weights_sha256": "0" * 64,
        "host_seconds_timing": host_seconds,
        "host_seconds_numerics": host_seconds,
    }
