"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
NOUNS = ("machine", "workload", "mapping")


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
