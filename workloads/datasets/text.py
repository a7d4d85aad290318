"""Text to be continued: each sample begins a text of its own, each symbol of which is to be predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workloads.datasets.counter import Counter, Integers
from workloads.datasets.grammar import character_source, word_source
from workloads.datasets.names import Unit
from workloads.datasets.source import Source

BEFORE = {"characters": " ", "words": "."}
"""The symbol that stands before a text: the last one of the sentence before."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Passages:
    """Symbol numbers (n, length): ``targets`` is the text, ``tokens`` what comes before each of its symbols."""

    tokens: Integers
    targets: Integers


@dataclass(frozen=True, kw_only=True)
class Text:
    """A generator of texts of ``length`` characters or words from the grammar of ``grammar.py``.

    Every text begins with a sentence, so a predictor that starts afresh knows as much as the source does. Raises
    ValueError when a text has no symbol.
    """

    unit: Unit = "characters"
    length: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError("a text has at least one symbol")

    @property
    def source(self) -> Source:
        return character_source() if self.unit == "characters" else word_source()

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the numbers stand for."""
        return self.source.symbols

    @property
    def least_bits(self) -> float:
        """Bits per symbol that the best possible predictor needs for texts of this length, exactly."""
        return self.source.window_entropy(self.length)

    def generate(self, numbers: Integers) -> Passages:
        """The texts of these numbers (n,), each the same whichever come with it."""
        numbers = np.asarray(numbers, dtype=np.int64)
        targets = self.source.generate(Counter(seed=self.seed), numbers, length=self.length)
        first = self.symbols.index(BEFORE[self.unit])
        tokens = np.concatenate([np.full((len(numbers), 1), first), targets[:, :-1]], axis=1)
        return Passages(tokens=tokens, targets=targets)
