"""``taihusim kernel``: one operation on the core groups of a chip, and where its time goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from taihusim.console import print_json, print_table, progress
from taihusim.options import json_option, set_option, split_settings
from workloads.words import seconds_in_words, size_in_words

SIZES = {
    "m": "Rows of a and c.",
    "n": "Columns of b and c.",
    "k": "Columns of a and rows of b; rows and columns of a window.",
    "batch": "Images.",
    "ni": "Input channels.",
    "no": "Output channels.",
    "ro": "Output rows.",
    "co": "Output columns.",
    "stride": "Pixels from one window to the next.",
    "dilation": "Pixels from one tap of a window to the next.",
    "groups": "Groups of channels that do not see one another.",
    "rows": "Rows of a matrix.",
    "columns": "Columns of a matrix.",
    "elements": "Numbers.",
    "count": "Copies.",
    "heads": "Heads of an attention.",
    "queries": "Queries of an attention.",
    "keys": "Keys of an attention.",
    "depth": "Numbers of a query's head.",
    "steps": "Steps of a sequence.",
    "labels": "Labels of a sequence.",
}
SWITCHES = {
    "causal": "1: no query sees the keys after it.",
    "resident": "1: recurrent weights stay in the LDM.",
}


def _size_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for every size there is, and for what is either so or not."""
    for name, text in reversed(SWITCHES.items()):
        command = click.option(f"--{name}", type=click.IntRange(min=0, max=1), help=text)(command)
    command = click.option("--padding", type=click.IntRange(min=0), help="Zeros around an image.")(command)
    for name, text in reversed(SIZES.items()):
        command = click.option(f"--{name}", type=click.IntRange(min=1), help=text)(command)
    return command


@click.command(name="kernel")
@click.argument("op")
@_size_options
@click.option("--machine", default="sunway_taihulight", show_default=True, help="Machine, name or file.")
@click.option("--core-groups", type=click.IntRange(min=1), default=1, show_default=True, help="Core groups at work.")
@click.option(
    "--dtype",
    type=click.Choice(["fp64", "fp32", "int16", "int8"]),
    default="fp64",
    show_default=True,
    help="Precision; integers for gemm.",
)
@click.option("--library", default="autotuned-2019", show_default=True, help="Library generation.")
@click.option("--plan", help="Plan of a convolution; left out, the fastest is chosen.")
@click.option("--launches", type=click.IntRange(min=1), default=1, show_default=True, help="Launches in a row.")
@click.option(
    "--numerics",
    type=click.Choice(["tile", "off"]),
    default="off",
    show_default=True,
    help="Compute random numbers in the tiles and compare with whole arrays, or not.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random numbers.")
@click.option("--trace", type=click.Path(path_type=Path), help="File for a timeline (ui.perfetto.dev).")
@set_option
@json_option
def command(
    op: str,
    machine: str,
    core_groups: int,
    dtype: Any,
    library: str,
    plan: str | None,
    launches: int,
    numerics: Any,
    seed: int,
    trace: Path | None,
    settings: tuple[str, ...],
    as_json: bool,
    **sizes: int | None,
) -> None:
    """Run operation OP on a core group, or on all of a chip, and say where its time goes.

    OP is gemm, conv2d, conv2d_input_gradient, conv2d_weight_gradient, im2col, col2im, max_pool, max_pool_gradient,
    average_pool, average_pool_gradient, upsample, concatenate, dropout, embedding, embedding_gradient,
    lstm, lstm_gradient, gru, gru_gradient, row_convolution, ctc_loss, bias_add, column_sum, softmax_cross_entropy,
    sum_copies, attention, a normalisation, activation or loss such as batch_norm or relu, its gradient, or an optimiser
    such as adam; an unknown one lists all. Core groups share out rows or images. The time includes the launch of every
    kernel by the MPE.

    A library is naive, swdnn-2016, swdnn-2017, swcaffe-2018 or autotuned-2019; a convolution's plan is direct, dma,
    batch-size-aware, image-size-aware, explicit, winograd or depthwise, as far as the library had it.

    Examples:

    \b
      taihusim kernel gemm --m 1024 --n 1024 --k 1024
      taihusim kernel conv2d --batch 32 --ni 64 --no 64 --ro 16 --co 16 --k 3 --core-groups 4 --numerics tile
      taihusim kernel conv2d --batch 128 --ni 128 --no 128 --ro 16 --co 16 --k 3 --core-groups 4 --library swdnn-2016
      taihusim kernel relu --elements 1000000 --trace relu.perfetto-trace
    """
    from taihusim.cache import default_store
    from taihusim.descriptions import described_machine
    from taihusim.kernel import KernelRequest, run_operation, trace_of
    from taihusim.places import check_file
    from workloads.files import replaced

    check_file(trace, option="--trace")
    store, changes = default_store(), split_settings(settings, nouns=("machine",)).machine
    spec = described_machine(machine, changes, store=store)
    request = KernelRequest(
        op=op,
        sizes={name: value for name, value in sizes.items() if value is not None},
        core_groups=core_groups,
        dtype=dtype,
        library=library,
        plan=plan,
        launches=launches,
        numerics=numerics,
        seed=seed,
    )
    with progress() as report:
        report.say(op, None)
        result = run_operation(spec, request, store=store)
        if trace is not None:
            timeline = trace_of(spec, replace(request, plan=result["plan"]))
            with replaced(trace) as file:
                file.write(timeline)
    if as_json:
        print_json(result)
        return
    _print(result)
    if trace is not None:
        click.echo(f"wrote {trace}")


def _print(result: dict[str, Any]) -> None:
    roofline = result["roofline"]
    intensity = roofline["flops_per_byte"]
    groups = "core group" if result["core_groups"] == 1 else "core groups"
    how = f"{result['plan']}, {result['library']}, {result['dtype']}"
    title = f"{result['op']} ({how}) on {result['core_groups']} {groups}"
    rows = [
        ("time", seconds_in_words(result["seconds"])),
        ("cycles", f"{result['cycles']:,}"),
        ("speed", f"{result['gflops']:,.4g} GFLOPS, {100 * result['peak_fraction']:.1f} % of peak"),
        ("LDM of a CPE", f"{result['ldm_bytes_per_cpe']:,} B"),
        ("DMA", f"{size_in_words(result['dma_bytes'])}, {result['dma_gbs']:.3g} GB/s"),
        (
            "roofline",
            f"{intensity:.3g} flops per byte: at most {roofline['attainable_gflops']:,.4g} GFLOPS"
            if intensity
            else "no floating-point operations that count",
        ),
    ]
    if result["max_relative_error"] is not None:
        rows.append(("largest error", f"{result['max_relative_error']:.2g} relative to the largest number"))
    print_table(("", "value"), rows, title=f"{title}, simulated time")
    click.echo()
    parts = sorted(result["breakdown"].items(), key=lambda part: -part[1])
    shares = [(name, seconds_in_words(value), f"{100 * value / result['seconds']:.1f} %") for name, value in parts]
    print_table(("where the time goes", "time", "share"), shares, right=("time", "share"))
    click.echo()
    click.echo(result["bottleneck"])
    loops = [loop["words"] for kernel in result["kernels"] for loop in kernel["loops"] if loop["watched"]]
    refusals = [f"plan {plan} not chosen: {reason}" for plan, reason in result["plans_not_chosen"].items()]
    for line in (*loops, *refusals):
        click.echo(line)
