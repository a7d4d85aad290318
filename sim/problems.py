"""What is wrong with a user's input, in words a user can act on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_VALUE = 60


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong at one place of a file or of a command-line setting.

    ``file`` is the file as the user named it, or the setting (``--set machine.network.nodes=x``). ``key`` is the
    dotted key path, empty when the whole file is meant. ``value`` is what was found, None when nothing was.
    ``expected`` completes "expected ...". ``nearest`` is a valid name close to the one given.
    """

    file: str
    key: str
    value: object
    expected: str
    nearest: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        subject = f"{self.key}: " if self.key else ""
        found = "" if self.value is None else f", found {_shortened(self.value)}"
        hint = "" if self.nearest is None else f" (did you mean {self.nearest!r}?)"
        return f"{place}: {subject}expected {self.expected}{found}{hint}"


class BadInput(Exception):
    """A user's input cannot be used. Carries all problems found; its text is one problem per line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)  # the one argument, so that a copy made by pickle is whole

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that looks most like ``name``, or None when none does."""
    import difflib  # loaded only when something is already wrong

    by_lower = {candidate.lower(): candidate for candidate in names}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None


def _shortened(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
