"""Sentences about the weather: a regular grammar whose every word and every character has a known probability.

A sentence is a walk through states. In each, a class of words comes with its probability, a word of the class with a
probability in proportion to 1 / √rank (less steep than Zipf's law), and the class decides the next state. The verb
agrees with the subject's number, over the adjectives and places between them: a predictor has to remember it. Each word
is followed by a space, the full stop too, so that a text of characters can be read back into words in one way only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from workloads.datasets.source import NOWHERE, Source

START = "sentence"
FALL = 0.5
"""Frequencies of words fall with their rank to this power."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "opening": ("now", "soon", "here", "then", "today"),
    "one": ("a", "this", "one", "each"),
    "several": ("two", "many", "these", "some"),
    "any number": ("the", "no"),
    "adjective": ("warm", "cold", "wet", "dry", "dark", "slow", "low", "big", "old", "wild"),
    "noun": ("storm", "wind", "cloud", "rain", "tide", "gale", "wave", "front", "fog", "eye"),
    "nouns": ("storms", "winds", "clouds", "rains", "tides", "gales", "waves", "fronts", "fogs", "eyes"),
    "preposition": ("over", "near", "by", "off", "in"),
    "place": ("sea", "bay", "isle", "cape", "hill", "lake", "town", "moor"),
    "moves": ("moves", "turns", "rises", "grows", "ends", "dies"),
    "move": ("move", "turn", "rise", "grow", "end", "die"),
    "meets": ("meets", "feeds", "cools", "lifts", "hits", "joins"),
    "meet": ("meet", "feed", "cool", "lift", "hit", "join"),
    "manner": ("fast", "again", "east", "north", "late", "still"),
    "and": ("and", "but", "so"),
    "article": ("the",),
    "stop": (".",),
}
"""The words of each class, the most frequent first."""


@dataclass(frozen=True)
class Choice:
    """A class of words that may come, how probably, and the state it leads to."""

    words: str
    probability: float
    leads_to: str


STATES: Mapping[str, tuple[Choice, ...]] = {
    START: (
        Choice("opening", 0.2, "clause"),
        Choice("one", 0.25, "one"),
        Choice("several", 0.25, "several"),
        Choice("any number", 0.3, "any"),
    ),
    "clause": (Choice("one", 0.3, "one"), Choice("several", 0.3, "several"), Choice("any number", 0.4, "any")),
    "one": (Choice("adjective", 0.4, "one"), Choice("noun", 0.6, "after one")),
    "several": (Choice("adjective", 0.4, "several"), Choice("nouns", 0.6, "after several")),
    "any": (
        Choice("adjective", 0.4, "any"),
        Choice("noun", 0.3, "after one"),
        Choice("nouns", 0.3, "after several"),
    ),
    "after one": (
        Choice("preposition", 0.4, "where one"),
        Choice("moves", 0.3, "end"),
        Choice("meets", 0.3, "object"),
    ),
    "after several": (
        Choice("preposition", 0.4, "where several"),
        Choice("move", 0.3, "end"),
        Choice("meet", 0.3, "object"),
    ),
    "where one": (Choice("article", 1.0, "place one"),),
    "where several": (Choice("article", 1.0, "place several"),),
    "place one": (Choice("adjective", 0.2, "place one"), Choice("place", 0.8, "verb one")),
    "place several": (Choice("adjective", 0.2, "place several"), Choice("place", 0.8, "verb several")),
    "verb one": (Choice("moves", 0.5, "end"), Choice("meets", 0.5, "object")),
    "verb several": (Choice("move", 0.5, "end"), Choice("meet", 0.5, "object")),
    "object": (
        Choice("one", 0.3, "object one"),
        Choice("several", 0.3, "object several"),
        Choice("article", 0.4, "object any"),
    ),
    "object one": (Choice("adjective", 0.3, "object one"), Choice("noun", 0.7, "end")),
    "object several": (Choice("adjective", 0.3, "object several"), Choice("nouns", 0.7, "end")),
    "object any": (Choice("adjective", 0.3, "object any"), Choice("noun", 0.35, "end"), Choice("nouns", 0.35, "end")),
    "end": (
        Choice("stop", 0.5, START),
        Choice("and", 0.15, "clause"),
        Choice("manner", 0.2, "stop"),
        Choice("preposition", 0.15, "where"),
    ),
    "where": (Choice("article", 1.0, "place"),),
    "place": (Choice("adjective", 0.2, "place"), Choice("place", 0.8, "stop")),
    "stop": (Choice("stop", 0.8, START), Choice("and", 0.2, "clause")),
}
"""The grammar: what may come in each state."""


@cache
def word_source() -> Source:
    """The grammar as a source of words: one symbol for each word, one state for each of ``STATES``."""
    names = list(STATES)
    symbols = sorted({word for words in WORDS.values() for word in words})
    number = {word: each for each, word in enumerate(symbols)}
    probabilities = np.zeros((len(names), len(symbols)))
    following = np.full((len(names), len(symbols)), NOWHERE)
    for state, choices in enumerate(STATES.values()):
        for choice in choices:
            words = [number[word] for word in WORDS[choice.words]]
            frequency = np.arange(1.0, len(words) + 1) ** -FALL
            probabilities[state, words] = choice.probability * frequency / frequency.sum()
            following[state, words] = names.index(choice.leads_to)
    return Source(symbols=tuple(symbols), probabilities=probabilities, following=following, start=names.index(START))


@cache
def character_source() -> Source:
    """The same sentences as a source of characters: a state is a state of the grammar and the letters of a word so far.

    The probability of a character is that of all words that go on with it, as a share of those that begin with the
    letters so far. A word has one way to be spelled and the space ends it, so the characters' entropy is the words',
    spread over their lengths: bits per character = bits per word / mean length with the space.
    """
    return spelled(word_source())


def spelled(words: Source) -> Source:
    """The source of the characters of a source of words, each followed by a space.

    Raises ValueError when a word has a space in it: the space ends a word.
    """
    if any(" " in word for word in words.symbols):
        raise ValueError("a word must not have a space in it")
    alphabet = sorted(set("".join(words.symbols)) | {" "})
    number = {letter: each for each, letter in enumerate(alphabet)}
    mass: dict[tuple[int, str], dict[int, float]] = {}
    for state in range(words.states):
        for symbol in np.flatnonzero(words.probabilities[state]):
            word = f"{words.symbols[symbol]} "
            for place, letter in enumerate(word):
                ways = mass.setdefault((state, word[:place]), {})
                ways[number[letter]] = ways.get(number[letter], 0.0) + words.probabilities[state, symbol]
    places = {key: each for each, key in enumerate(mass)}
    probabilities = np.zeros((len(mass), len(alphabet)))
    following = np.full((len(mass), len(alphabet)), NOWHERE)
    spelling = {word: symbol for symbol, word in enumerate(words.symbols)}
    for (state, letters), ways in mass.items():
        row, total = places[state, letters], sum(ways.values())
        for each, weight in ways.items():
            probabilities[row, each] = weight / total
            if alphabet[each] == " ":
                after = (int(words.following[state, spelling[letters]]), "")
            else:
                after = (state, letters + alphabet[each])
            following[row, each] = places[after]
    return Source(
        symbols=tuple(alphabet), probabilities=probabilities, following=following, start=places[words.start, ""]
    )


def words_of(numbers: Sequence[int], source: Source) -> str:
    """The symbols of these numbers in a row: words with spaces between them, or characters as they are."""
    between = " " if any(len(symbol) > 1 for symbol in source.symbols) else ""
    return between.join(source.symbols[each] for each in numbers)
