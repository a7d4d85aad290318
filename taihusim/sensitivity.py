"""What would relieve a prediction: the change of its times for each parameter of the machine made a tenth better.

Network, storage, and what the managing cores do follow from the node's step as it is. A changed chip has other kernel
times: these are simulated, each once, with the plans that the library takes there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from sim.machine.load import load_machine, read_machine
from sim.machine.parameter import Parameter
from sim.machine.spec import MachineSpec
from sim.problems import BadInput
from taihusim.node_steps import NodeSteps
from taihusim.predict import Predictor

if TYPE_CHECKING:
    from taihusim.setup import Setup

Reach: TypeAlias = Literal["network", "chip"]
Say: TypeAlias = Callable[[str, float | None], None]

TENTH: Final = 0.1
TIMES: Final = frozenset({"s", "s/B", "cycles"})
"""Units of which less is better; of all others more is."""
AROUND: Final = ("network.", "storage.", "processor.mpe.", "processor.group_sync", "processor.host.")
"""Keys that no kernel's time depends on."""
NOISE: Final = "noise."
CHIP: Final = (
    *("processor.clock", "processor.cpe.ldm", "processor.dma.line_time", "processor.dma.request_time"),
    *("processor.dma.block_time", "processor.dma.startup", "processor.mesh.latency", "processor.mesh.sync"),
)
"""Keys that kernels' times depend on, as far as they are tried."""
DEVICE: Final = (
    *("processor.peak_fp64", "processor.peak_fp32", "processor.launch", "processor.memory.bandwidth"),
    *(f"processor.efficiency.{each}" for each in ("convolution", "fully_connected", "others", "memory")),
)
"""The same of devices that are known by their peaks."""
NOT_TRIED: Final = frozenset({"network.nodes", "storage.capacity"})


@dataclass(frozen=True, kw_only=True)
class Change:
    """A parameter and the setting that makes it better, ``by`` which part of its value."""

    parameter: Parameter
    setting: str
    by: float


def changes(machine: str, settings: Sequence[str], *, reach: Reach, noise: bool) -> list[Change]:
    """What is tried on a machine of a name or a file. Raises BadInput as loading it does."""
    found = []
    loaded = read_machine(machine, settings)
    chip = CHIP if loaded.spec.roofline is None else DEVICE
    for each in loaded.parameters:
        wanted = each.key.startswith(AROUND) or (noise and each.key.startswith(NOISE))
        wanted = wanted or (reach == "chip" and each.key in chip)
        if wanted and not isinstance(each.value, tuple) and each.value and each.key not in NOT_TRIED:
            found.append(_better(each, each.value))
    return found


def sensitivity(
    steps: NodeSteps,
    *,
    machine: str,
    settings: Sequence[str],
    nodes: Sequence[int],
    reach: Reach = "network",
    seed: int | None = None,
    say: Say = lambda text, share: None,
) -> list[dict[str, Any]]:
    """Each parameter with the change of the time of a step on ``nodes`` nodes, as fractions; what relieves most first.

    Parameters that change nothing are left out.
    """
    base = Predictor(steps, seed=seed)
    before = [base.training(count).seconds for count in nodes]
    tried = changes(machine, settings, reach=reach, noise=seed is not None)
    found = []
    for number, change in enumerate(tried):
        say(change.parameter.key, number / len(tried))
        try:
            other = load_machine(machine, [*settings, change.setting])
            predictor = Predictor(_on(steps, other, key=change.parameter.key), seed=seed)
            after = [predictor.training(count).seconds for count in nodes]
        except BadInput:  # a tenth more is no value that this parameter can have
            continue
        relative = [new / old - 1.0 for new, old in zip(after, before, strict=True)]
        if any(relative):
            found.append(
                {
                    "key": change.parameter.key,
                    "value": change.parameter.text,
                    "changed_by": change.by,
                    "changes": [
                        {"nodes": count, "seconds_per_step": new, "change": each}
                        for count, new, each in zip(nodes, after, relative, strict=True)
                    ],
                }
            )
    return sorted(found, key=_relief)


def _relief(row: dict[str, Any]) -> float:
    return float(min(each["change"] for each in row["changes"]))


def _better(parameter: Parameter, now: float) -> Change:
    """A tenth less of a time, a tenth more of all else, rounded away from what it is where it has to be whole."""
    less = parameter.unit in TIMES
    value = now * (1 - TENTH if less else 1 + TENTH)
    if isinstance(now, int):
        value = int(value) if less else ceil(value)
    text = f"{value!r} {parameter.unit}" if parameter.unit else f"{value!r}"
    return Change(parameter=parameter, setting=f"{parameter.key}={text}", by=value / now - 1.0)


def _on(steps: NodeSteps, machine: MachineSpec, *, key: str) -> NodeSteps:
    """The same workload and mapping on another machine; kernels keep their times where these cannot change."""

    def prepare() -> Setup:
        from nnlib.kernels.clock import KernelClock

        setup = steps.setup
        kept = key.startswith(AROUND)
        clock = setup.clock if kept else KernelClock(machine.processor, store=setup.clock.store)
        return replace(setup, machine=machine, clock=clock)

    return NodeSteps(machine=machine, mapping=steps.mapping, source=steps.source, prepare=prepare, store=steps.store)
