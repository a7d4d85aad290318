"""The command ``taihusim``: a table of subcommands, each loaded only when it is used, and what a failure looks like.

Exit codes: 0 done, 1 failed, 2 bad input or usage, 130 interrupted. Nothing heavy is imported here, so that
``--help`` answers at once.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from importlib import import_module
from typing import Any

import click

COMMANDS = {
    "machine": "Show, check and compare machine files.",
    "kernel": "Run one operation on the core groups of a chip: where its time goes.",
    "train": "Train a workload on a machine: loss, accuracy, simulated time and energy.",
    "predict": "Predict training and inference at every scale: time, energy, memory, what holds it back.",
    "compare": "Set machines side by side on one workload: speed, energy, share of peak, what holds each back.",
    "infer": "Run a trained model on a machine: outputs, latency, throughput.",
    "serve": "Answer requests that arrive one by one: latencies, batches, load.",
    "collective": "Time one collective on a machine's network: bandwidth, busiest links, step by step.",
    "faults": "Time to completion of a long run while nodes and links fail, and the best checkpoint interval.",
    "validate": "Predict published measurements and show how far off the predictions are.",
    "workload": "Show workloads and their networks layer by layer.",
    "cache": "Show or drop what is kept on disk: kernel times, steps, descriptions.",
    "pipeline": "Show how a GEMM schedule issues in the two pipes of a CPE, cycle by cycle.",
}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """Subcommands named in COMMANDS, each the object ``command`` of ``taihusim.commands.NAME``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"taihusim.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from sim.problems import nearest

            near = nearest(args[0], COMMANDS)
            hint = f" Did you mean {near!r}?" if near else f" Commands: {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as interrupt:
            click.echo(f"Interrupted{f' {interrupt}' if str(interrupt) else ''}.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of our output has gone; click ends quietly
            ctx.exit(_report(error, debug=bool(ctx.params.get("debug"))))


def _report(error: Exception, *, debug: bool) -> int:
    """Say on standard error what went wrong; the exit code."""
    from sim.problems import BadInput

    if debug:
        import traceback

        traceback.print_exception(error)
    elif isinstance(error, BadInput):
        click.echo(str(error), err=True)
    else:
        first_line = (str(error).splitlines() or [""])[0]
        click.echo(f"{type(error).__name__}: {first_line} (--debug shows where)", err=True)
    return 2 if isinstance(error, BadInput) else 1


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"taihusim {version('taihusim')}")
    except PackageNotFoundError:
        click.echo("taihusim, not installed (run from its source tree)")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the traceback when a command fails.")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version.",
)
def main(debug: bool) -> None:
    """Simulate a supercomputer and the deep learning running on it as one program.

    Example: taihusim machine show sunway_taihulight
    """
    # the matrices of a step are many and small: a product's threads wait for one another longer than they compute
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # else pydantic looks through all that is installed for plugins before the first schema
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # commands load much that stays, in which the collector would look for what can go again and again
    gc.set_threshold(200_000, 10, 10)
    atexit.register(gc.freeze)  # nor need it look through everything before the end
    # a sign that the terminal cannot show must not turn an answer into an error
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
