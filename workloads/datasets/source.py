"""A random source of symbols whose entropy is known: the next symbol depends on a state, and decides the next state.

Because a state and a symbol have one successor (the source is unifilar), who knows the first state knows all states,
and the entropy of the symbols is the mean over the states of the entropy of the next symbol (Shannon, A mathematical
theory of communication, 1948, section 7): no predictor whatever can do with fewer bits on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from workloads.datasets.counter import Counter, Floats, Integers

NOWHERE = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Probabilities of the next symbol (states, symbols) and the states that follow (states, symbols).

    ``following`` is -1 where a symbol cannot come. Every text begins in state ``start``. Raises ValueError when the
    probabilities of a state do not add to one, or a possible symbol leads nowhere.
    """

    symbols: tuple[str, ...]
    probabilities: Floats
    following: Integers
    start: int

    def __post_init__(self) -> None:
        if not np.allclose(self.probabilities.sum(axis=1), 1.0, rtol=0, atol=1e-12) or (self.probabilities < 0).any():
            raise ValueError("the probabilities of every state have to add to one")
        if ((self.probabilities > 0) != (self.following != NOWHERE)).any():
            raise ValueError("a symbol has to lead to a state exactly where it is possible")

    @property
    def states(self) -> int:
        return len(self.probabilities)

    @cached_property
    def state_bits(self) -> Floats:
        """The entropy of the next symbol in each state, in bits (states,)."""
        bits: Floats = -(self.probabilities * _log2(self.probabilities)).sum(axis=1)
        return bits

    @cached_property
    def transitions(self) -> Floats:
        """The probability of the next state (columns) in each state (rows)."""
        result = np.zeros((self.states, self.states))
        rows, columns = np.nonzero(self.probabilities)
        np.add.at(result, (rows, self.following[rows, columns]), self.probabilities[rows, columns])
        return result

    @cached_property
    def stationary(self) -> Floats:
        """The share of time spent in each state in the long run (states,): the left eigenvector of the transitions."""
        equations = self.transitions.T - np.eye(self.states)
        equations[-1] = 1.0  # one equation follows from the others; instead of it the shares add to one
        target = np.zeros(self.states)
        target[-1] = 1.0
        shares: Floats = np.linalg.solve(equations, target).astype(np.float64)
        return shares

    def entropy_rate(self) -> float:
        """Bits per symbol of an endless text: the least that any predictor needs."""
        return float(self.stationary @ self.state_bits)

    def window_entropy(self, length: int) -> float:
        """Bits per symbol of the first ``length`` symbols, averaged: the least for texts that are no longer."""
        share, total = np.zeros(self.states), 0.0
        share[self.start] = 1.0
        for _ in range(length):
            total += float(share @ self.state_bits)
            share = share @ self.transitions
        return total / length

    def generate(self, counter: Counter, samples: Integers, *, length: int) -> Integers:
        """Texts (n, length) of symbol numbers for the samples (n,), each from the start state."""
        draws = counter.uniform("symbols", samples, length)
        limits = np.cumsum(self.probabilities, axis=1)
        limits /= limits[:, -1:]  # the last one exactly 1, so that no draw falls beyond
        texts = np.empty((len(samples), length), dtype=np.int64)
        state = np.full(len(samples), self.start)
        for place in range(length):
            texts[:, place] = (draws[:, place, np.newaxis] >= limits[state]).sum(axis=1)
            state = self.following[state, texts[:, place]]
        return texts

    def code_length(self, texts: Integers) -> Floats:
        """The bits that each symbol of texts (n, length) costs the one who knows the source: (n, length).

        Their expectation is ``window_entropy``. Infinite from the first symbol on that cannot come.
        """
        bits = np.empty(texts.shape)
        known = np.vstack([self.probabilities, np.zeros(len(self.symbols))])
        costs = np.where(known > 0, -_log2(known), np.inf)
        following = np.vstack([self.following, np.full(len(self.symbols), NOWHERE)])
        state = np.full(len(texts), self.start)
        for place in range(texts.shape[1]):
            bits[:, place] = costs[state, texts[:, place]]
            state = following[state, texts[:, place]]
        return bits

    def ngram_entropy(self, order: int) -> float:
        """Bits per symbol of the best predictor that sees only the last ``order`` symbols, 0 or 1, in the long run.

        Raises ValueError for another order.
        """
        if order not in (0, 1):
            raise ValueError(f"the order is 0 or 1, not {order}")
        alone = self.stationary @ self.probabilities
        if order == 0:
            return float(-(alone * _log2(alone)).sum())
        arriving = self.stationary[:, np.newaxis] * self.probabilities
        pairs = np.zeros((len(self.symbols), len(self.symbols)))
        rows, columns = np.nonzero(self.probabilities)
        after = self.probabilities[self.following[rows, columns]]
        np.add.at(pairs, columns, arriving[rows, columns, np.newaxis] * after)
        return float(-(pairs * _log2(pairs)).sum() + (alone * _log2(alone)).sum())


def _log2(values: Floats) -> Floats:
    """Logarithms to base 2, and 0 for zero, so that p log p is what it tends to."""
    return np.log2(values, out=np.zeros(values.shape), where=values > 0)
