"""The numbers of a machine file as a flat list, to print, compare and cite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from sim.machine.leaf import Leaf
from sim.machine.quantity import Grid, Number, Quantity, Whole

KINDS = (Quantity, Number, Whole, Grid)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One number of a machine: dotted key, text with its unit, value in base units, and where it comes from."""

    key: str
    text: str
    value: float | tuple[int, ...]
    unit: str
    source: str
    note: str


def parameters(section: BaseModel, *, prefix: str = "") -> Iterator[Parameter]:
    """All parameters of a machine file (or of a section of it), in the order of the file's schema."""
    for name in type(section).model_fields:
        child = getattr(section, name)
        key = f"{prefix}{name}"
        if isinstance(child, Leaf):
            yield _parameter(key, child)
        elif isinstance(child, BaseModel):
            yield from parameters(child, prefix=f"{key}.")


def _parameter(key: str, leaf: Leaf[Any]) -> Parameter:
    kind = next(each for each in type(leaf).model_fields["value"].metadata if isinstance(each, KINDS))
    return Parameter(
        key=key,
        text=kind.format(leaf.value),
        value=leaf.value,
        unit=kind.dimension.base if isinstance(kind, Quantity) else "",
        source=leaf.source,
        note=leaf.note,
    )
