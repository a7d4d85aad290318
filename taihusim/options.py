"""Options that several commands share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import click

Command = TypeVar("Command", bound=Callable[..., Any])
NOUNS = ("machine", "workload", "mapping")
MOST_SAMPLES = 1_000_000_000
MAPPING_FLAGS = (
    "batch_per_node",
    "global_batch",
    "numerics",
    "backend",
    "precision",
    "rounding",
    "calibration",
    "collective",
    "library",
    "ranks_per_node",
    "strategy",
)


class PositiveNumber(click.FloatRange):
    """A number from ``least``, or above zero, up to ``most``; nan, which lies in every range of click's, is none."""

    def __init__(self, *, least: float | None = None, most: float) -> None:
        super().__init__(min=least or 0.0, min_open=least is None, max=most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a number.", param, ctx)
        return number


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings by noun, each ``key=value`` without the noun's prefix."""

    machine: tuple[str, ...] = ()
    workload: tuple[str, ...] = ()
    mapping: tuple[str, ...] = ()


def set_option(command: Command) -> Command:
    """Add ``--set machine.KEY=VALUE``, repeatable, as parameter ``settings``."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NOUN.KEY=VALUE",
        help="Change a parameter, e.g. --set machine.processor.cpe.ldm=128KiB. May be repeated.",
    )(command)


def json_option(command: Command) -> Command:
    """Add ``--json`` as parameter ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(command)


def split_settings(settings: Sequence[str], *, nouns: Sequence[str] = NOUNS) -> Settings:
    """Sort ``machine.a.b=1`` and so on by their noun.

    ``nouns`` are those the command uses. Raises BadInput for every setting that begins with another word.
    """
    from sim.problems import BadInput, Problem, nearest

    found: dict[str, list[str]] = {noun: [] for noun in NOUNS}
    problems: list[Problem] = []
    for setting in settings:
        noun, dot, rest = setting.partition(".")
        if dot and noun in nouns:
            found[noun].append(rest)
            continue
        word = noun.partition("=")[0]
        expected = " or ".join(f"{each}.KEY=VALUE" for each in nouns)
        near = nearest(word, nouns) if word not in nouns else None
        problems.append(Problem(file=f"--set {setting}", key="", value=word, expected=expected, nearest=near))
    if problems:
        raise BadInput(problems)
    return Settings(**{noun: tuple(values) for noun, values in found.items()})


def run_options(command: Command) -> Command:
    """Add the options of machine and mapping: ``machine``, and what :func:`mapping_options` adds."""
    option = click.option("--machine", default="sunway_taihulight", show_default=True, help="Machine, name or file.")
    return option(mapping_options(command))


def mapping_options(command: Command) -> Command:
    """Add the options of a mapping: ``mapping``, and ``mapping_flags`` made from the others.

    Each flag overrides the mapping file's key of the same name.
    """

    @functools.wraps(command)
    def with_flags(*args: Any, **values: Any) -> Any:
        flags = {name: values.pop(name) for name in MAPPING_FLAGS}
        settings = [f"{name}={value}" for name, value in flags.items() if value is not None]
        # the two batches exclude each other: a flag for one takes the place of either in the file
        batches = [name for name in ("batch_per_node", "global_batch") if flags[name] is not None]
        if len(batches) == 1:
            other = "global_batch" if batches == ["batch_per_node"] else "batch_per_node"
            settings.append(f"{other}=null")
        return command(*args, mapping_flags=settings, **values)

    options = [
        click.option("--mapping", default="default", show_default=True, help="Mapping, name or file."),
        click.option(
            "--batch-per-node", type=click.IntRange(min=1, max=MOST_SAMPLES), help="Samples per node and step."
        ),
        click.option(
            "--global-batch", type=click.IntRange(min=1, max=MOST_SAMPLES), help="Samples of all nodes per step."
        ),
        click.option(
            "--numerics",
            type=click.Choice(["tile", "layer", "off"]),
            help="Compute in the tiles, by layer, or not at all; the time is the same.",
        ),
        click.option(
            "--backend",
            type=click.Choice(["numpy", "torch"]),
            help="Whose functions compute layers: this library's or PyTorch's, an extra.",
        ),
        click.option(
            "--precision",
            "--dtype",
            "precision",
            type=click.Choice(["fp64", "fp32", "fp32-fp64", "int16", "int8"]),
            help="Number format; fp32-fp64 is fp32 in memory and fp64 arithmetic.",
        ),
        click.option(
            "--rounding", type=click.Choice(["stochastic", "nearest"]), help="How fixed point rounds in training."
        ),
        click.option(
            "--calibration",
            type=click.Choice(["max", "percentile", "mse"]),
            help="How integers for inference get their steps.",
        ),
        click.option("--collective", help="All-reduce algorithm, e.g. ring."),
        click.option("--library", help="Generation of the kernel library, e.g. swcaffe-2018."),
        click.option("--ranks-per-node", type=click.Choice(["1", "4"]), help="Ranks of each node."),
        click.option("--strategy", help="How a step is divided among ranks: data, or e.g. tensor=4,pipeline=8."),
    ]
    decorated: Any = with_flags
    for option in reversed(options):
        decorated = option(decorated)
    return cast(Command, decorated)
