"""A collective step by step: a table of its steps, and a timeline of some of its ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim.network.schedule import Step
from sim.trace.perfetto import Slice, encode
from workloads.words import size_in_words

Floats = NDArray[np.float64]

MOST_TRACKS: Final = 64
"""Ranks of a timeline; of more, so many at equal distances."""
MOST_STEPS: Final = 20_000
"""Steps of a timeline."""


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """What one step did: ``begin`` and ``end`` in seconds, when its first rank came and its last one was through.

    ``turns``: how often it was made.
    """

    messages: int
    bytes_each: int
    adds: bool
    begin: float
    end: float
    turns: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "messages": self.messages,
            "largest_message_bytes": self.bytes_each,
            "adds": self.adds,
            "seconds_begin": self.begin,
            "seconds_end": self.end,
            "turns": self.turns,
        }


class StepTrace:
    """Watches a run over ``ranks`` ranks, all of which start at 0; elements are bytes."""

    def __init__(self, ranks: int) -> None:
        count = min(ranks, MOST_TRACKS)
        self.tracked = np.arange(count) * ranks // count
        self.rows: list[StepRow] = []
        self.slices: list[Slice] = []
        self._clocks = np.zeros(ranks)

    def observe(self, step: Step, clocks: Floats) -> None:
        """Take down a step and the clocks after it."""
        size = step.end - step.begin
        sent = np.flatnonzero(size)
        if not len(sent):
            return
        source, destination, size = step.source[sent], step.destination[sent], size[sent]
        taking = np.concatenate([source, destination])
        number = len(self.rows)
        self.rows.append(
            StepRow(
                messages=len(sent) * step.turns,
                bytes_each=int(size.max()),
                adds=step.reduce,
                begin=float(self._clocks[taking].min()),
                end=float(clocks[taking].max()),
                turns=step.turns,
            )
        )
        if number < MOST_STEPS:
            self._draw(number, step, source, destination, size, clocks)
        self._clocks = clocks.copy()

    def as_json(self) -> list[dict[str, Any]]:
        """All steps in order."""
        return [row.as_json() for row in self.rows]

    def timeline(self, *, title: str) -> bytes:
        """The tracked ranks for ui.perfetto.dev."""
        return encode(self.slices, process=title, tracks=[f"rank {rank}" for rank in self.tracked.tolist()])

    def _draw(
        self,
        number: int,
        step: Step,
        source: NDArray[np.int64],
        destination: NDArray[np.int64],
        size: NDArray[np.int64],
        clocks: Floats,
    ) -> None:
        """A slice from where each tracked rank was to where it is now."""
        out, into = np.full((2, len(clocks)), -1)
        out[source] = into[destination] = np.arange(len(source))
        for track, rank in enumerate(self.tracked.tolist()):
            words = []
            if (at := out[rank]) >= 0:
                words.append(f"{size_in_words(int(size[at]))} to {destination[at]}")
            if (at := into[rank]) >= 0:
                words.append(f"{size_in_words(int(size[at]))} from {source[at]}{', added' if step.reduce else ''}")
            if not words:
                continue
            times = f", {step.turns} times" if step.turns > 1 else ""
            name = f"step {number + 1}: {'; '.join(words)}{times}"
            begin, end = (round(float(when[rank]) * 1e9) for when in (self._clocks, clocks))
            self.slices.append(
                Slice(track=track, start=begin, end=end, name=name, category="reduce" if step.reduce else "move")
            )
