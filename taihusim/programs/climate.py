"""Steps of a climate model and, on the same nodes, a network that looks through their fields: the time of both.

The fields stay where they are: a window of them is a sample of the network. What it would take to hand them over by way
of storage is said beside it.
"""

from __future__ import annotations

from collections.abc import Mapping as WordMapping
from collections.abc import Sequence
from typing import Any, Final

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.grids.weather_step import NUMBER_BYTES, WeatherStep, flops
from sim.machine.spec import MachineSpec
from sim.network.topology import Topology
from sim.power.energy import Activity, energy
from sim.problems import BadInput, Problem
from sim.storage.access import Access, access
from sim.storage.striping import Striping
from taihusim.console import print_table
from taihusim.node_steps import NodeSteps
from taihusim.setup import Setup
from workloads.hpc.climate_spec import ClimateWorkload
from workloads.hpc.durations import seconds_of
from workloads.hpc.field_windows import time_windows
from workloads.hpc.process_grid import near_square
from workloads.hpc.weather import time_weather
from workloads.jobs.node_answer import NodeAnswer
from workloads.jobs.step_energy import step_activity
from workloads.mapping import Mapping
from workloads.words import energy_in_words, seconds_in_words, size_in_words

PARTS: Final = {
    "core_compute": "the dynamical core streams its fields through the LDM",
    "halo_exchange": "the dynamical core exchanges the edges of its parts",
    "field_cutting": "fields are cut into samples of the network",
    "segmentation": "the network looks through the fields",
}


def field_shape(setup: Setup, workload: ClimateWorkload) -> tuple[int, int, int]:
    """Rows, columns and channels of a field. Raises BadInput if the network does not take winds and a pressure."""
    inputs = setup.graph.inputs
    shape = inputs[0].shape
    if len(inputs) == 1 and len(shape) == 3 and shape[2] >= 3:
        rows, columns, channels = shape
        return rows, columns, channels
    expected = "a network of one input, an image of at least three channels: two winds and a pressure"
    problem = Problem(file=f"workload {workload.name}", key="network", value=workload.network, expected=expected)
    raise BadInput([problem])


def climate_problems(mapping: Mapping, flags: Sequence[str]) -> list[Problem]:
    """What a mapping or flags ask for that the workflow does not have."""
    problems = [
        Problem(
            file=f"--{flag.partition('=')[0].replace('_', '-')}",
            key="",
            value=flag.partition("=")[2],
            expected="nothing: --set workload.windows=[ROWS,COLUMNS] says how many fields a core group has",
        )
        for flag in flags
        if flag.startswith(("batch_per_node=", "global_batch=")) and not flag.endswith("=null")
    ]
    if not mapping.strategy.is_data:
        expected = "data: every core group looks at its own fields with the whole network"
        problems.append(Problem(file="--strategy", key="", value=str(mapping.strategy), expected=expected))
    return problems


def core_step(setup: Setup, workload: ClimateWorkload) -> WeatherStep:
    """The kernel of a core group's part. Raises BadInput as :func:`field_shape`."""
    rows, columns, channels = field_shape(setup, workload)
    return WeatherStep(workload.windows[0] * rows, workload.windows[1] * columns, channels, workload.dynamics)


def climate_point(workload: ClimateWorkload, *, steps: NodeSteps, clock: KernelClock, nodes: int) -> dict[str, Any]:
    """One node count as JSON. Raises BadInput if fields and network do not fit the memory."""
    machine = steps.machine
    groups = machine.processor.core_groups
    kernel = core_step(steps.setup, workload)
    part = kernel.rows * kernel.columns * kernel.channels * NUMBER_BYTES
    answer = steps.answering(workload.fields * groups)
    # fields before and after a step; their samples are among what the network needs
    memory = 2 * part + answer.memory_bytes
    if memory > machine.processor.memory.bytes:
        expected = f"fewer fields: {memory:,} B per core group do not fit its {machine.processor.memory.bytes:,} B"
        file = f"workload {workload.name}"
        raise BadInput([Problem(file=file, key="windows", value=workload.windows, expected=expected)])
    topology = Topology(network=machine.network, nodes=nodes, ranks_per_node=groups)
    grid = near_square(topology.ranks)
    timing = time_weather(
        kernel, grid=grid, topology=topology, clock=clock, persistent_threads=workload.persistent_threads
    )
    cut = time_windows(kernel, workload.windows, clock=clock, persistent_threads=workload.persistent_threads)
    spent = {
        "core_compute": workload.steps * seconds_of(timing.compute),
        "halo_exchange": workload.steps * seconds_of(timing.halo_exchange),
        "field_cutting": seconds_of(cut),
        "segmentation": answer.seconds,
    }
    simulated = spent["core_compute"] + spent["halo_exchange"]
    seconds = sum(spent.values())
    handed = access(
        machine.storage,
        Access(
            processes=topology.ranks,
            size=part,
            striping=Striping(stripes=workload.stripes, stripe_bytes=workload.stripe_bytes),
        ),
    ).seconds
    activity = _activity(machine, kernel, answer, spent, steps=workload.steps)
    worst = max(spent, key=lambda name: spent[name])
    return {
        "nodes": nodes,
        "cores": nodes * machine.processor.cores,
        "processes": topology.ranks,
        "grid_rows": grid[0] * kernel.rows,
        "grid_columns": grid[1] * kernel.columns,
        "fields": workload.fields * topology.ranks,
        "field_bytes": part * topology.ranks,
        "steps": workload.steps,
        "seconds_per_step": seconds_of(timing.step),
        "seconds_simulation": simulated,
        "seconds_field_cutting": spent["field_cutting"],
        "seconds_segmentation": answer.seconds,
        "seconds_in_place": seconds,
        "seconds_storage": 2 * handed,
        "seconds_through_storage": seconds + 2 * handed,
        "fields_per_second": workload.fields * topology.ranks / seconds,
        "shares": {name: each / seconds for name, each in spent.items()},
        "memory_bytes_per_core_group": memory,
        "energy_joules": energy(machine, activity, nodes=nodes).total_joules,
        "bottleneck": f"{PARTS[worst]}: {100 * spent[worst] / seconds:.0f} % of the time",
    }


def _activity(
    machine: MachineSpec, kernel: WeatherStep, answer: NodeAnswer, spent: WordMapping[str, float], *, steps: int
) -> Activity:
    """What a node does: CPEs wait for memory while fields are stepped and cut, the MPEs send or poll all the time."""
    groups = machine.processor.core_groups
    looked = step_activity(node=answer, seconds=answer.seconds, core_groups=groups, network_bytes=0.0)
    points = kernel.rows * kernel.columns * groups
    arithmetic = steps * points * flops(kernel.channels) / machine.processor.peak_flops
    seconds = sum(spent.values())
    return Activity(
        seconds=seconds,
        compute_seconds=looked.compute_seconds + arithmetic,
        wait_seconds=looked.wait_seconds + spent["core_compute"] - arithmetic + spent["field_cutting"],
        mpe_seconds=seconds,
        # all numbers once read and once written in every step, and once more when they are cut
        memory_bytes=looked.memory_bytes + 2.0 * (steps + 1) * points * kernel.channels * NUMBER_BYTES,
    )


def print_climate(result: WordMapping[str, Any]) -> None:
    """A table of the points: in place, and by way of storage."""
    columns = (
        *("nodes", "cores", "points", "core", "segmentation", "in place", "through storage", "fields/s"),
        *("memory of a core group", "halo", "energy"),
    )
    rows = [
        (
            f"{point['nodes']:,}",
            f"{point['cores']:,}",
            f"{point['grid_rows']:,} x {point['grid_columns']:,}",
            seconds_in_words(point["seconds_simulation"]),
            seconds_in_words(point["seconds_segmentation"]),
            seconds_in_words(point["seconds_in_place"]),
            seconds_in_words(point["seconds_through_storage"]),
            f"{point['fields_per_second']:,.0f}",
            size_in_words(point["memory_bytes_per_core_group"]),
            f"{100 * point['shares']['halo_exchange']:.1f} %",
            energy_in_words(point["energy_joules"]),
        )
        for point in result["points"]
    ]
    print_table(columns, rows, title=f"{result['workload']} on {result['machine']}, simulated time", right=columns)
