"""What would relieve a prediction: the change of its times for each parameter of the machine made a tenth better.

Network, storage, and what the managing cores do follow from the node's step as it is. On a changed chip kernels keep
the plans that they have on the chip as it is: what changes is the parameter's doing, not that of another plan.
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
BETTER_MORE: Final = frozenset({"noise.system_period"})
BETTER_LESS: Final = frozenset(
    {
        *("noise.compute_jitter", "noise.slow_nodes", "noise.slow_node_factor"),
        *("noise.slow_links", "noise.slow_link_factor", "network.topology.taper"),
    }
)
"""Where the unit does not tell."""
AROUND: Final = ("network.", "storage.", "processor.mpe.", "processor.group_sync", "processor.host.")
"""Keys that no kernel's time depends on."""
NOISE: Final = "noise."
CHIP: Final = (
    *("processor.clock", "processor.cpe.pipeline.", "processor.mesh.latency", "processor.mesh.sync"),
    *("processor.mesh.remote.startup", "processor.dma.", "processor.memory.global_"),
)
"""Keys that kernels' times depend on while their plans stay."""
DEVICE: Final = ("processor.peak_", "processor.launch", "processor.memory.bandwidth", "processor.efficiency.")
"""The same of devices that are known by their peaks."""
NOT_TRIED: Final = frozenset(
    {
        *("network.nodes", "network.topology.supernode_nodes", "storage.capacity", "storage.arrays"),
        *("network.protocol.eager_limit", "network.protocol.blob_copy_limit"),
        *("processor.dma.line", "processor.dma.put_granule", "processor.dma.partial_put_block"),
        *("processor.dma.columns_per_bus", "processor.dma.shared_get_factor", "processor.dma.shared_put_factor"),
    }
)
"""What a machine is built of, limits of which neither more nor less is better, and factors that are 1 where nothing
is in the way. More arrays, say, would each be a smaller part of the same bandwidth."""
LARGEST: Final = 0.5
"""A whole number that cannot change by less than more than this part of it is not tried."""


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
        wanted = wanted or (reach == "chip" and each.key.startswith(chip))
        if wanted and not isinstance(each.value, tuple) and each.value and each.key not in NOT_TRIED:
            found.append(_better(each, each.value))
    return [each for each in found if abs(each.by) <= LARGEST]


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

    ``elasticity``: that change per change of the parameter, which the order goes by: whole numbers change by more than
    a tenth. Parameters that change nothing are left out.
    """
    base = Predictor(steps, seed=seed)
    before = [base.training(count).seconds for count in nodes]
    tried = changes(machine, settings, reach=reach, noise=seed is not None)
    found = []
    for number, change in enumerate(tried):
        say(change.parameter.key, number / len(tried))
        try:
            other = load_machine(machine, [*settings, change.setting])
            predictor = Predictor(on(steps, other, key=change.parameter.key), seed=seed)
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
                        {"nodes": count, "seconds_per_step": new, "change": each, "elasticity": each / change.by}
                        for count, new, each in zip(nodes, after, relative, strict=True)
                    ],
                }
            )
    return sorted(found, key=_relief)


def _relief(row: dict[str, Any]) -> float:
    return float(min(each["change"] for each in row["changes"]) / abs(row["changed_by"]))


def _better(parameter: Parameter, now: float) -> Change:
    """A tenth less of a time, a tenth more of all else, rounded away from what it is where it has to be whole."""
    less = parameter.key in BETTER_LESS or (parameter.unit in TIMES and parameter.key not in BETTER_MORE)
    value = now * (1 - TENTH if less else 1 + TENTH)
    if isinstance(now, int):
        value = int(value) if less else ceil(value)
    text = f"{value!r} {parameter.unit}" if parameter.unit else f"{value!r}"
    return Change(parameter=parameter, setting=f"{parameter.key}={text}", by=value / now - 1.0)


def on(steps: NodeSteps, machine: MachineSpec, *, key: str) -> NodeSteps:
    """The same workload, mapping and plans on another machine; kernels keep their times where these cannot change."""
    kept = key.startswith(AROUND) or machine.roofline is not None

    def prepare() -> Setup:
        from nnlib.kernels.clock import KernelClock

        base = steps.setup.clock
        clock = base if kept else KernelClock(machine.processor, store=steps.store, base=base)
        return replace(steps.setup, machine=machine, clock=clock)

    same_network = (machine.network, machine.noise) == (steps.machine.network, steps.machine.noise)
    planned = None if kept else steps.machine.processor
    return NodeSteps(
        machine=machine,
        mapping=steps.mapping,
        source=steps.source,
        prepare=prepare,
        store=steps.store,
        planned=planned,
        communicators=steps.communicators if same_network else {},
    )
