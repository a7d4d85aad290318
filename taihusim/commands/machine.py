"""``taihusim machine``: what machines there are, what they are made of, whether a file is right, what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taihusim.options import json_option, set_option, split_settings

if TYPE_CHECKING:
    from sim.machine.load import LoadedMachine
    from sim.machine.parameter import Parameter
    from sim.machine.spec import MachineSpec
    from sim.problems import Problem


@click.group(name="machine")
def command() -> None:
    """Show, check and compare machine files.

    A machine is a name (see `taihusim machine list`) or a YAML file.

    Example: taihusim machine show sunway_taihulight
    """


@command.command(name="list")
@json_option
def list_command(as_json: bool) -> None:
    """List the machines that come with taihusim.

    Example: taihusim machine list
    """
    from sim.machine.load import list_machines, read_machine
    from taihusim.console import print_json, print_table

    machines = [read_machine(name).spec for name in list_machines()]
    if as_json:
        print_json({"machines": [{"machine": spec.name, "title": spec.title, **_derived(spec)} for spec in machines]})
        return
    rows = [(spec.name, spec.title, f"{spec.nodes:,}", f"{spec.cores:,}", _flops(spec.peak_flops)) for spec in machines]
    print_table(("name", "title", "nodes", "cores", "peak"), rows, right=("nodes", "cores", "peak"))


@command.command(name="show")
@click.argument("machine", metavar="[NAME|FILE]", default="sunway_taihulight")
@click.option("--notes", is_flag=True, help="Also print why a value was chosen.")
@set_option
@json_option
def show_command(machine: str, notes: bool, settings: tuple[str, ...], as_json: bool) -> None:
    """Show a machine: derived peaks, then each parameter with its value and source.

    Examples:

    \b
      taihusim machine show sunway_taihulight
      taihusim machine show --set machine.processor.cpe.ldm=128KiB
    """
    from taihusim.console import print_json, print_table

    loaded = _read(machine, settings)
    spec = loaded.spec
    if as_json:
        print_json(
            {
                "machine": spec.name,
                "title": spec.title,
                "processor": spec.computing.name,
                **_derived(spec),
                "parameters": [vars(parameter) for parameter in loaded.parameters],
            }
        )
        return
    print_table(("derived", "value"), _derived_rows(spec), title=f"{spec.title} ({spec.name})", right=("value",))
    click.echo()
    rows = [(each.key, each.text, each.source) for each in loaded.parameters]
    print_table(("parameter", "value", "source"), rows, right=("value",))
    if notes:
        click.echo()
        print_table(("parameter", "note"), [(each.key, each.note) for each in loaded.parameters if each.note])


@command.command(name="check")
@click.argument("machine", metavar="FILE")
@set_option
@json_option
def check_command(machine: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Check a machine file: OK, or every problem in it at once (exit code 2).

    Example: taihusim machine check my_machine.yaml
    """
    from sim.problems import BadInput
    from taihusim.console import print_json

    problems: tuple[Problem, ...] = ()
    try:
        _read(machine, settings)
    except BadInput as bad:
        problems = bad.problems
    if as_json:
        print_json({"file": machine, "ok": not problems, "problems": [_plain(problem) for problem in problems]})
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        click.echo(f"{machine}: {count}" if problems else f"{machine}: OK", err=bool(problems))
    if problems:
        raise click.exceptions.Exit(2)


@command.command(name="diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="[B]", required=False)
@set_option
@json_option
def diff_command(a: str, b: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Show the parameters in which two machines differ. Settings change B, which is A if only A is given.

    Examples:

    \b
      taihusim machine diff sunway_taihulight taihulight_ldm128k
      taihusim machine diff sunway_taihulight --set machine.processor.cpe.ldm=128KiB
    """
    from sim.machine.load import read_machine
    from taihusim.console import print_json, print_table

    before, after = read_machine(a), _read(b or a, settings)
    one, other = ({each.key: each for each in loaded.parameters} for loaded in (before, after))
    keys = [key for key in {**one, **other} if _value(one.get(key)) != _value(other.get(key))]
    if as_json:
        differences = [
            {
                "key": key,
                "unit": (one.get(key) or other[key]).unit,
                "a": _value(one.get(key)),
                "b": _value(other.get(key)),
                "a_text": _text(one.get(key)),
                "b_text": _text(other.get(key)),
            }
            for key in keys
        ]
        print_json({"a": before.spec.name, "b": after.spec.name, "differences": differences})
    elif not keys:
        click.echo("No parameter differs.")
    else:
        rows = [(key, _text(one.get(key)) or "", _text(other.get(key)) or "") for key in keys]
        names = [before.spec.name, after.spec.name]
        headers = names if names[0] != names[1] else [a, b or f"{a}, changed"]
        print_table(("parameter", *headers), rows, right=headers)


def _read(machine: str, settings: tuple[str, ...]) -> LoadedMachine:
    from sim.machine.load import read_machine

    return read_machine(machine, split_settings(settings, nouns=("machine",)).machine)


def _value(parameter: Parameter | None) -> float | tuple[int, ...] | None:
    return None if parameter is None else parameter.value


def _text(parameter: Parameter | None) -> str | None:
    return None if parameter is None else parameter.text


def _derived(spec: MachineSpec) -> dict[str, object]:
    """What follows from the parameters, units in the names."""
    from sim.power.energy import full_load_watts

    computing = spec.computing
    chip = None if spec.roofline is not None else spec.processor
    return {
        "nodes": spec.nodes,
        "topology": spec.network.topology.kind,
        "supernodes": spec.network.supernodes,
        "core_groups": None if chip is None else spec.nodes * chip.core_groups,
        "devices": None if spec.roofline is None else spec.nodes * spec.roofline.devices,
        "cores": spec.cores,
        "cores_per_node": computing.cores,
        "core_group_cpe_peak_gflops": None if chip is None else chip.core_group_cpe_peak_flops / 1e9,
        "chip_peak_gflops": None if chip is None else chip.peak_flops / 1e9,
        "node_peak_gflops": computing.peak_flops / 1e9,
        "node_peak_fp32_gflops": computing.peak_flops_of("fp32") / 1e9,
        "peak_gflops": spec.peak_flops / 1e9,
        "memory_bytes": _memory(spec),
        "watts": spec.nodes * full_load_watts(spec),
    }


def _derived_rows(spec: MachineSpec) -> list[tuple[str, str]]:
    from sim.machine.quantity import POWER, SIZE, Quantity
    from sim.power.energy import full_load_watts

    watts = Quantity(dimension=POWER).round(spec.nodes * full_load_watts(spec))
    return [
        ("processor", spec.computing.name),
        ("nodes", f"{spec.nodes:,}"),
        ("topology", spec.network.topology.kind.replace("_", " ")),
        *([] if spec.network.supernodes is None else [("supernodes", f"{spec.network.supernodes:,}")]),
        *_unit_rows(spec),
        ("peak of the machine", _flops(spec.peak_flops)),
        ("memory of one node", Quantity(dimension=SIZE, whole=True).format(_memory(spec) // spec.nodes)),
        ("power of all nodes", watts),
    ]


def _unit_rows(spec: MachineSpec) -> list[tuple[str, str]]:
    """Core groups or devices, and their peaks."""
    devices = spec.roofline
    if devices is not None:
        return [
            ("devices", f"{spec.nodes * devices.devices:,}"),
            ("cores of the devices", f"{spec.cores:,}"),
            ("peak of one device in fp32", _flops(devices.device_fp32_flops)),
            ("peak of one device in fp64", _flops(devices.device_fp64_flops)),
        ]
    chip = spec.processor
    single = chip.peak_flops_of("fp32")
    return [
        ("core groups", f"{spec.nodes * chip.core_groups:,}"),
        ("cores", f"{spec.cores:,}"),
        ("peak of one core group's CPEs", _flops(chip.core_group_cpe_peak_flops)),
        ("peak of one chip, with MPEs", _flops(chip.peak_flops)),
        *([] if single == chip.peak_flops else [("the same in fp32", _flops(single))]),
    ]


def _memory(spec: MachineSpec) -> int:
    return spec.nodes * spec.node_memory_bytes


def _flops(value: float) -> str:
    from sim.machine.quantity import FLOP_RATE, Quantity

    return Quantity(dimension=FLOP_RATE).round(value)


def _plain(problem: Problem) -> dict[str, object]:
    return {**vars(problem), "value": None if problem.value is None else str(problem.value)}
