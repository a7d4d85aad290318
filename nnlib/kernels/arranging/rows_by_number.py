"""Which rows of tables tokens pick, and how they are shared out: what gathering and adding rows have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.window import MISSING
from sim.chip.dma import Integers
from sim.chip.memory import Array

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Picks:
    """``tokens`` tokens of each of ``samples`` samples pick rows of the sample's table of ``rows`` × ``width`` numbers.

    The tables lie one below the other. A single table for all tokens, as an embedding has it, is one sample.
    """

    samples: int
    tokens: int
    rows: int
    width: int

    @property
    def number(self) -> int:
        """Tokens of all samples."""
        return self.samples * self.tokens

    @property
    def height(self) -> int:
        """Rows of all tables."""
        return self.samples * self.rows

    def keys(self, tokens: Array) -> Integers:
        """The row among all tables of each token, in order."""
        rows: Integers = tokens.astype(np.int64) + np.arange(len(tokens)) // self.tokens * self.rows
        return rows


def assumed_rows(
    cpes: int, busy: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], height: int, column: int
) -> Integers:
    """Starts (CPEs, 2) of rows that lie apart from one another: where rows that data pick are taken to be."""
    return rows_at(np.where(busy, 2 * np.arange(cpes) % height, MISSING), column)


def rows_at(rows: Integers, column: int) -> Integers:
    """Starts (CPEs, 2) of rows, from a column on."""
    return np.stack([rows, np.full_like(rows, column)], axis=1)
