"""``taihusim pipeline``: how the inner loop of a GEMM schedule issues, cycle by cycle."""

from __future__ import annotations

from collections.abc import Iterable

import click

from taihusim.console import print_json, print_table
from taihusim.options import json_option, set_option, split_settings

DTYPES = ("fp64", "fp32", "int16", "int8")


@click.command(name="pipeline")
@click.argument("schedule", metavar="SCHEDULE")
@click.option("--role", default="sender-sender", show_default=True, help="Role on the row, then on the column.")
@click.option("--dtype", default="fp64", show_default=True, help="fp64, fp32, int16 or int8.")
@click.option("--part", default="loop", show_default=True, help="loop: one k-step; block; step: with choice of role.")
@click.option("--machine", default="sunway_taihulight", show_default=True, help="Machine, name or file.")
@set_option
@json_option
def command(
    schedule: str, role: str, dtype: str, part: str, machine: str, settings: tuple[str, ...], as_json: bool
) -> None:
    """Show the issue table of a GEMM schedule: what enters the two pipes in each cycle, and why the rest waits.

    Schedules are compiler, compiler-macros, swdnn-2016, swcaffe-2018 and autotuned-2019; roles are sender-sender,
    sender-receiver, receiver-sender and receiver-receiver. The table is that of a CPE on the mesh, where the slowest
    role holds all others.

    Examples:

    \b
      taihusim pipeline swdnn-2016 --role receiver-receiver
      taihusim pipeline autotuned-2019 --dtype int16
      taihusim pipeline autotuned-2019 --part block --json
    """
    from sim.chip.pipeline.convert import conversion_cycles
    from sim.chip.pipeline.costs import gemm_costs
    from sim.chip.pipeline.integer import widening_cycles
    from sim.chip.pipeline.listing import PARTS, issue_table, k_step_alone
    from sim.chip.pipeline.roles import ROLES
    from sim.chip.pipeline.schedules import SCHEDULES, is_integer, schedule_for
    from sim.machine.load import read_machine

    _check(
        ("SCHEDULE", schedule, SCHEDULES),
        ("--role", role, ROLES),
        ("--dtype", dtype, DTYPES),
        ("--part", part, PARTS),
    )
    spec = read_machine(machine, split_settings(settings, nouns=("machine",)).machine).spec
    processor = spec.processor
    cpe = processor.cpe
    _check_mesh(machine, rows=processor.mesh.rows, columns=processor.mesh.columns)
    remote = processor.mesh.remote is not None
    chosen = schedule_for(schedule, dtype=dtype, fixed_point=cpe.fixed_point)
    costs = gemm_costs(processor=processor, dtype=dtype, schedule=schedule)
    alone = k_step_alone(cpe=cpe, schedule=chosen, role=ROLES[role], dtype=dtype, local=remote)
    rows = issue_table(processor=processor, schedule=chosen, role=ROLES[role], dtype=dtype, part=part)
    conversion: float = conversion_cycles(cpe=cpe, elements=1) if chosen.converts(dtype, processor.mesh) else 0
    becomes = "fp32 operands become fp64 in the LDM first"
    if is_integer(dtype):
        loaded = 8 * cpe.ldm_bytes  # any large number of elements
        conversion = widening_cycles(cpe=cpe, elements=loaded, bits=int(dtype[3:])) / loaded
        becomes = "operands become 32-bit integers in the LDM first"
    if as_json:
        print_json(
            {
                "schedule": schedule,
                "role": role,
                "dtype": dtype,
                "part": part,
                "machine": spec.name,
                "k_step_cycles": costs.k_step,
                "k_step_cycles_alone": alone,
                "block_cycles": costs.block,
                "row_of_blocks_cycles": costs.row,
                "mesh_step_cycles": costs.mesh_step,
                "mesh_step_residual_cycles": costs.residual,
                "conversion_cycles_per_element": conversion,
                "cycles": [
                    {
                        "cycle": row.cycle,
                        "p0": row.p0,
                        "p1": row.p1,
                        "stalls": [
                            {"instruction": each.instruction, "reason": each.reason.value, "subject": each.subject}
                            for each in row.waiting
                        ],
                    }
                    for row in rows
                ],
            }
        )
        return
    summary = [
        (
            "k-step, this role alone",
            alone,
            "operands lie in the own LDM" if remote else "FIFOs never empty, never full",
        ),
        (
            "k-step on the mesh",
            f"{costs.k_step:g}",
            "all roles are alike" if remote else "the slowest role holds the mesh",
        ),
        ("register block", f"{costs.block:g}", "besides its k-steps: C loaded and stored, pointers, prologue"),
        ("row of blocks", f"{costs.row:g}", ""),
        ("mesh step", f"{costs.mesh_step:g}", f"{costs.residual:g} of it unexplained, from the machine file"),
    ]
    if conversion:
        summary.append(("conversion of an element", f"{conversion:g}", becomes))
    print_table(("cost", "cycles", "note"), summary, title=f"{schedule}, {dtype}, {role}", right=("cycles",))
    click.echo()
    table = [(row.cycle, row.p0, row.p1, "; ".join(str(each) for each in row.waiting)) for row in rows]
    print_table(("cycle", "P0", "P1", "waiting"), table, right=("cycle",))


def _check(*names: tuple[str, str, Iterable[str]]) -> None:
    """Raise BadInput for every (option, value, valid values) whose value is none of them."""
    from sim.problems import BadInput, Problem, nearest

    problems = [
        Problem(file=option, key="", value=value, expected=" or ".join(valid), nearest=nearest(value, valid))
        for option, value, valid in names
        if value not in valid
    ]
    if problems:
        raise BadInput(problems)


def _check_mesh(machine: str, *, rows: int, columns: int) -> None:
    from sim.problems import BadInput, Problem

    if min(rows, columns) < 2:
        expected = "a mesh of at least 2 x 2, for senders and receivers"
        raise BadInput([Problem(file=machine, key="processor.mesh", value=f"{rows} x {columns}", expected=expected)])
