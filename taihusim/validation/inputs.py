"""What a predictor is and how it reads its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from sim.machine.spec import MachineSpec

Inputs: TypeAlias = Mapping[str, str]
"""A row by column, without its results."""

Predictor: TypeAlias = Callable[[Inputs, MachineSpec], float]
"""From a row's inputs and the machine to its value, in the row's unit. Raises Unpredictable."""


class Unpredictable(Exception):
    """This row cannot be predicted; the text says why."""


def text(inputs: Inputs, column: str) -> str:
    """A cell. Raises Unpredictable if there is no such column or nothing in it."""
    cell = inputs.get(column, "").strip()
    if not cell:
        raise Unpredictable(f"nothing in column {column!r}")
    return cell


def whole(inputs: Inputs, column: str, *, multiple: int = 1, least: int = 1, most: int | None = None) -> int:
    """A whole number, a multiple of ``multiple`` between ``least`` and ``most``. Raises Unpredictable."""
    cell = text(inputs, column)
    try:
        number = float(cell)
    except ValueError:
        raise Unpredictable(f"{column} {cell!r} is no number") from None
    if number != number // 1 or number % multiple:
        raise Unpredictable(f"{column} {cell} is no multiple of {multiple}")
    if number < least or (most is not None and number > most):
        raise Unpredictable(f"{column} {cell} is not between {least} and {'any' if most is None else most}")
    return int(number)


def check_library(inputs: Inputs, *modelled: str) -> None:
    """Raise Unpredictable unless the row is about a library that is ``modelled``."""
    library = text(inputs, "library")
    if library not in modelled:
        raise Unpredictable(f"library {library} is not modelled here, only {', '.join(modelled)}")


def direction(inputs: Inputs) -> str:
    """``get`` or ``put``, the word in column ``what``. Raises Unpredictable."""
    words = text(inputs, "what").lower().split()
    found = [word for word in ("get", "put") if word in words]
    if len(found) != 1:
        raise Unpredictable(f"what {inputs['what']!r} names neither get nor put")
    return found[0]
