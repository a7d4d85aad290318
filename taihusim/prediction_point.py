"""One node count of a prediction, as other programs read it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from sim.power.energy import energy
from taihusim.strategy_point import strategy_fields
from workloads.bottleneck import inference_bottleneck, input_bottleneck, training_bottleneck
from workloads.inference import InferenceTiming
from workloads.jobs.completion import expected_to_train
from workloads.jobs.predicted_step import PredictedStep

if TYPE_CHECKING:
    from taihusim.predict import Predictor

MEASURED_PROCESSOR: Final = "SW26010"
MEASURED_PARTS: Final = ("conv", "pool", "activation", "fc", "tensor_trans", "bn")
OTHERS_LIMIT: Final = 0.25
"""A step with a larger share of other layers than this is not what was measured."""


def training_point(predictor: Predictor, steps: Mapping[int, PredictedStep], nodes: int) -> dict[str, Any]:
    """A step on ``nodes`` nodes; ``steps`` by node count, with one node to compare with if that can do it."""
    step, machine, facts = steps[nodes], predictor.steps.machine, predictor.steps.facts
    computing, seconds = machine.computing, step.seconds
    interval = None if machine.roofline is not None else predictor.residuals.interval(step.shares, whole=seconds)
    low, high = interval or (None, None)
    reasons = extrapolation(predictor, step)
    speedup = step.samples_per_second / steps[1].samples_per_second if 1 in steps else None
    batch, joules = step.global_batch, step.energy.total_joules
    needed = step.input.needed_bytes_per_second(seconds - step.input_seconds)
    training = _per_samples(facts.recipe_samples, seconds, batch) if facts.learns else None
    return {
        "nodes": nodes,
        "cores": nodes * computing.cores,
        "global_batch": batch,
        "seconds_per_step": seconds,
        "seconds_per_step_low": low,
        "seconds_per_step_high": high,
        "samples_per_second": step.samples_per_second,
        "speedup": speedup,
        "efficiency": None if speedup is None else speedup / nodes,
        "shares": dict(step.shares),
        "communication_share": step.communication_share,
        "memory_bytes_per_core_group": step.node.memory.total,
        "energy_joules_per_step": joules,
        "bottleneck": bottleneck(predictor, step),
        "extrapolated": bool(reasons),
        "extrapolated_because": reasons,
        "seconds_per_epoch": _per_samples(facts.train_size, seconds, batch),
        "seconds_to_train": training,
        "seconds_to_train_with_failures": _with_failures(predictor, nodes, training),
        "energy_joules_to_train": _per_samples(facts.recipe_samples, joules, batch) if facts.learns else None,
        "flops_per_second": step.flops_per_second,
        "peak_fraction": step.flops_per_second / (nodes * computing.peak_flops_of(predictor.steps.mapping.dtype)),
        "flops_to_train": _per_samples(facts.recipe_samples, float(nodes * step.node.flops), batch),
        "compute_unit": "core group" if machine.roofline is None else "device",
        "memory": {
            "weights_bytes": step.node.memory.weights,
            "gradients_bytes": step.node.memory.gradients,
            "optimiser_bytes": step.node.memory.optimiser,
            "activations_bytes": step.node.memory.activations,
            "buffers_bytes": step.node.memory.buffers,
        },
        "by_part": {name: part / seconds for name, part in step.node.by_part.items()},
        "input": {
            "fetch_seconds": step.input.fetch_seconds,
            "exposed_seconds": step.input_seconds,
            "loading_seconds": step.loading_seconds,
            "needed_bytes_per_second": needed if isfinite(needed) else None,
            "available_bytes_per_second": step.input.available_bytes_per_second,
            "limit": step.input.limit(seconds - step.input_seconds),
        },
        "energy_joules_by_component": dict(step.energy.joules),
        "communication_seconds": step.timing.communication_seconds,
        "communication_exposed_seconds": step.timing.communication_exposed_seconds,
        "gradient_bytes": step.timing.gradient_bytes,
        "ranks": step.timing.ranks,
        "collective": predictor.steps.mapping.collective,
        "strategy": str(predictor.steps.mapping.strategy),
        "divided": strategy_fields(predictor.steps, global_batch=batch, nodes=nodes, seed=predictor.seed),
    }


def _with_failures(predictor: Predictor, nodes: int, seconds: float | None) -> float | None:
    """Expected time of training with checkpoints and failures; None if it is not known or never ends."""
    if not seconds:
        return None
    steps = predictor.steps
    expected = expected_to_train(
        steps.machine, facts=steps.facts, mapping=steps.mapping, nodes=nodes, work_seconds=seconds
    )
    return expected if isfinite(expected) else None


def answer_point(predictor: Predictor, answers: Mapping[int, InferenceTiming], nodes: int) -> dict[str, Any]:
    """A batch of inference on each of ``nodes`` nodes."""
    timing, batch = answers[nodes], predictor.samples(nodes)
    alone = predictor.samples(1) / answers[1].seconds if 1 in answers else None
    rate = nodes * batch / timing.seconds
    return {
        "nodes": nodes,
        "cores": nodes * predictor.steps.machine.computing.cores,
        "batch": batch,
        "seconds_per_batch": timing.seconds,
        "samples_per_second": rate,
        "speedup": None if alone is None else rate / alone,
        "efficiency": None if alone is None else rate / alone / nodes,
        "latency_p50": timing.latency,
        "latency_p99": timing.latency,
        "energy_joules_per_batch": energy(predictor.steps.machine, timing.activity, nodes=nodes).total_joules,
        "shares": dict(timing.shares),
        "bottleneck": inference_bottleneck(
            shares=timing.shares,
            busiest=timing.busiest,
            launches=timing.launches,
            launch_seconds=timing.launch_seconds,
            device=_device(predictor),
        ),
    }


def bottleneck(predictor: Predictor, step: PredictedStep) -> str:
    """What holds a step back, in words."""
    name = max(step.shares, key=lambda share: step.shares[share])
    if name == "input":
        return input_bottleneck(share=step.shares[name], limit=step.input.limit(step.seconds - step.input_seconds))
    return training_bottleneck(
        shares=step.shares,
        busiest=step.timing.busiest,
        launches=step.timing.launches,
        launch_seconds=step.timing.launch_seconds,
        nodes=step.nodes,
        ranks=step.timing.ranks,
        gradient_bytes=step.timing.gradient_bytes,
        collective=predictor.steps.mapping.collective,
        strategy=str(predictor.steps.mapping.strategy),
        device=_device(predictor),
    )


def _device(predictor: Predictor) -> str | None:
    """What nodes compute with, if it is no chip of core groups."""
    devices = predictor.steps.machine.roofline
    return None if devices is None else devices.name


def extrapolation(predictor: Predictor, step: PredictedStep) -> list[str]:
    """Why nothing like a step has been measured; empty where something has."""
    found, residuals, mapping = [], predictor.residuals, predictor.steps.mapping
    if predictor.steps.machine.roofline is not None:
        return ["devices known by their peaks are not what intervals were measured for"]
    if predictor.steps.machine.computing.name != MEASURED_PROCESSOR:
        found.append(f"errors are those of {MEASURED_PROCESSOR}")
    if step.nodes > residuals.most_nodes:
        found.append(f"training was measured on up to {residuals.most_nodes:,} nodes")
    if mapping.precision not in ("fp32", "fp64"):
        found.append(f"nothing was measured in {mapping.precision}")
    if not mapping.strategy.is_data:
        found.append("nothing but data parallelism was measured")
    others = 1.0 - sum(step.node.by_part[part] for part in MEASURED_PARTS) / step.node.seconds
    if others > OTHERS_LIMIT:
        found.append(f"{100 * others:.0f} % of a node's time are layers of kinds that were not measured")
    low, high = residuals.allreduce_bytes
    largest = max((bucket.elements for bucket in step.node.buckets), default=0) * step.node.item_bytes
    if step.timing.ranks > 1 and not low <= largest <= high:
        found.append(f"all-reduces were measured from {low / 1e6:g} to {high / 1e6:g} MB")
    if any(source == "set on the command line" for source in predictor.steps.machine.sources.values()):
        found.append("the machine was changed")
    return found


def _per_samples(samples: int | None, value: float, batch: int) -> float | None:
    """What ``samples`` samples take if ``batch`` take ``value``."""
    return None if samples is None else value * samples / batch
