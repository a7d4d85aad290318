"""Two pieces of text with words left out: which words were there, and does the second piece go on from the first?

The task on which BERT is trained (Devlin et al. 2019): a sample is ``[class] first [separator] second [separator]``. Of
its words 15 in 100 have to be found; of those 8 in 10 are replaced by ``[mask]`` and 1 by any word. In half of the
samples the second piece is that of another text, cut at the same place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workloads.datasets.counter import Counter, Integers
from workloads.datasets.grammar import word_source

SPECIAL = ("[class]", "[separator]", "[mask]")
CHOSEN, MASKED, REPLACED = 0.15, 0.8, 0.1
NONE = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """``tokens``, ``segments`` (0 or 1), ``masked`` (words to be found, else -1): (n, length); ``follows`` (n,)."""

    tokens: Integers
    segments: Integers
    masked: Integers
    follows: Integers


@dataclass(frozen=True, kw_only=True)
class MaskedText:
    """A generator of pairs of pieces from the grammar of ``grammar.py``, ``length`` words and special ones together.

    Raises ValueError when there is no room for a word in each piece.
    """

    length: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.length < 5:
            raise ValueError("a pair has a word in each piece and three special ones, at least 5 together")

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the numbers stand for: words, then special ones."""
        return (*word_source().symbols, *SPECIAL)

    def generate(self, numbers: Integers) -> Pairs:
        """The pairs of these numbers (n,), each the same whichever come with it."""
        numbers = np.asarray(numbers, dtype=np.int64)
        counter, source = Counter(seed=self.seed), word_source()
        words = len(source.symbols)
        class_, separator, mask = range(words, words + len(SPECIAL))
        count, first = self.length - 3, (self.length - 3) // 2
        text = source.generate(counter, 2 * numbers, length=count)
        other = source.generate(counter, 2 * numbers + 1, length=count)
        follows = counter.integers("follows", numbers, below=2)
        text[:, first:] = np.where(follows[:, np.newaxis] == 1, text[:, first:], other[:, first:])
        tokens = np.full((len(numbers), self.length), separator)
        places = np.r_[1 : 1 + first, 2 + first : 2 + count]
        tokens[:, 0] = class_
        tokens[:, places] = text
        chosen = counter.uniform("chosen", numbers, count) < CHOSEN
        masked = np.full(tokens.shape, NONE)
        masked[:, places] = np.where(chosen, text, NONE)
        how = counter.uniform("how", numbers, count)
        anything = counter.integers("anything", numbers, count, below=words)
        shown = np.where(how < MASKED, mask, np.where(how < MASKED + REPLACED, anything, text))
        tokens[:, places] = np.where(chosen, shown, text)
        segments = np.broadcast_to(np.arange(self.length) > first + 1, tokens.shape).astype(np.int64)
        return Pairs(tokens=tokens, segments=segments, masked=masked, follows=follows)
