"""What holds a step back, in words: the largest share of its time and what is behind it."""

from __future__ import annotations

from collections.abc import Mapping

from workloads.words import nodes_in_words, size_in_words


def training_bottleneck(
    *,
    shares: Mapping[str, float],
    busiest: str,
    launches: int,
    launch_seconds: float,
    nodes: int,
    ranks: int,
    gradient_bytes: int,
    collective: str,
    strategy: str = "data",
    device: str | None = None,
) -> str:
    """One sentence on the largest of ``shares``. ``device``: what computes, if it is no chip of core groups."""
    name = max(shares, key=lambda share: shares[share])
    percent = f"{100 * shares[name]:.0f} %"
    match name:
        case "communication_exposed" if strategy != "data":
            return (
                f"communication: what {ranks:,} ranks on {nodes_in_words(nodes)} exchange under {strategy} while "
                f"they wait for it is {percent} of the step"
            )
        case "communication_exposed":
            return (
                f"communication: the {collective.replace('_', '-')} all-reduce of {size_in_words(gradient_bytes)} "
                f"over {ranks:,} ranks on {nodes_in_words(nodes)}, not hidden by compute, is {percent} of the step"
            )
        case _:
            return node_bottleneck(
                shares=shares, busiest=busiest, launches=launches, launch_seconds=launch_seconds, device=device
            )


def input_bottleneck(*, share: float, limit: str | None) -> str:
    """One sentence on waiting for samples, which ``limit`` holds back."""
    return f"input: nodes wait for samples {100 * share:.0f} % of the step; {limit or 'fetching them'} cannot keep up"


def inference_bottleneck(
    *, shares: Mapping[str, float], busiest: str, launches: int, launch_seconds: float, device: str | None = None
) -> str:
    """One sentence on the largest of ``shares`` of a batch."""
    if max(shares, key=lambda share: shares[share]) == "requests":
        return f"network: requests and answers take {100 * shares['requests']:.0f} % of a batch's time longer to move"
    return node_bottleneck(
        shares=shares, busiest=busiest, launches=launches, launch_seconds=launch_seconds, unit="batch", device=device
    )


def node_bottleneck(
    *,
    shares: Mapping[str, float],
    busiest: str,
    launches: int,
    launch_seconds: float,
    unit: str = "step",
    device: str | None = None,
) -> str:
    """One sentence on the largest share of what happens inside a node during a ``unit``."""
    name = max(shares, key=lambda share: shares[share])
    percent = f"{100 * shares[name]:.0f} %"
    if device is not None:
        match name:
            case "launch":
                each = f"{1e6 * launch_seconds:.0f} us"
                return f"kernel launches: {launches} of {each} each on the {device} take {percent} of the {unit}"
            case "memory":
                return f"memory: the {device}'s bandwidth bounds {percent} of the {unit}, most in {busiest}"
            case "group_sync":
                return f"synchronisation of the devices of a node: {percent} of the {unit}"
            case "compute":
                return f"compute: the {device}'s arithmetic bounds {percent} of the {unit}, most in {busiest}"
    match name:
        case "launch":
            return (
                f"kernel launches: {launches} launch{'' if launches == 1 else 'es'} of {1e6 * launch_seconds:.0f} us "
                f"each by the MPE take {percent} of the {unit}; there is too little work behind each to hide it"
            )
        case "dma_wait":
            return f"memory: CPEs wait for DMA {percent} of the {unit}, most in {busiest}"
        case "mesh_wait":
            return f"register communication: broadcasts on the mesh take {percent} of the {unit}, most in {busiest}"
        case "imbalance":
            return f"idle CPEs: too little work for all CPEs in {busiest}; {percent} of the {unit}"
        case "jitter":
            return f"unequal nodes: the others wait for the slowest {percent} of the {unit}"
        case "pipeline_bubble":
            way_out = "more micro-batches, or samples for them, would fill it"
            return f"pipeline: stages wait for one another {percent} of the {unit}; {way_out}"
        case "mpe":
            return f"the MPE: layers that it runs by itself take {percent} of the {unit}, most in {busiest}"
        case "group_sync":
            return f"synchronisation of the core groups of a chip: {percent} of the {unit}"
        case _:
            return f"compute: the CPEs' pipelines are busy {percent} of the {unit}, most in {busiest}"
