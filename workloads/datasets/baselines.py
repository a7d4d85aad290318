"""What can be had without a network: classifiers linear in what a pixel or a frame shows, and counts of characters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workloads.datasets.counter import Floats, Integers


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearClassifier:
    """Scores of classes are ``weights`` (features + 1, classes) times features and one."""

    weights: Floats

    def scores(self, features: Floats) -> Floats:
        """Scores (..., classes) of features (..., features)."""
        result: Floats = features @ self.weights[:-1] + self.weights[-1]
        return result

    def classes(self, features: Floats) -> Integers:
        """The class of the highest score (...)."""
        found: Integers = self.scores(features).argmax(axis=-1)
        return found


def fit_softmax(
    features: Floats, labels: Integers, *, classes: int, ridge: float = 1e-4, steps: int = 25
) -> LinearClassifier:
    """Softmax regression of labels (n,) on features (n, features), by Newton's method, halved where it overshoots.

    What is minimised is the mean cross-entropy and ``ridge`` / 2 times the sum of squared weights, which keeps the
    weights finite where a plane divides the classes.
    """
    rows = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    wanted = np.eye(classes)[labels]
    weights = np.zeros((rows.shape[1], classes))
    loss = _loss(rows, wanted, weights, ridge)
    for _ in range(steps):
        shares = _softmax(rows @ weights)
        gradient = rows.T @ (shares - wanted) / len(rows) + ridge * weights
        newton = np.linalg.solve(_curvature(rows, shares, ridge), gradient.T.reshape(-1)).reshape(classes, -1).T
        length, after = 1.0, _loss(rows, wanted, weights - newton, ridge)
        while after > loss and length > 1e-6:
            length *= 0.5
            after = _loss(rows, wanted, weights - length * newton, ridge)
        weights = weights - length * newton
        if loss - after < 1e-9:
            break
        loss = after
    return LinearClassifier(weights=weights)


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _loss(rows: Floats, wanted: Floats, weights: Floats, ridge: float) -> float:
    scores = rows @ weights
    scores -= scores.max(axis=1, keepdims=True)
    likelihood = (scores * wanted).sum(axis=1) - np.log(np.exp(scores).sum(axis=1))
    return float(-likelihood.mean() + 0.5 * ridge * (weights**2).sum())


def _curvature(rows: Floats, shares: Floats, ridge: float) -> Floats:
    """The second derivatives (classes · features, classes · features), block by block of two classes."""
    features, classes = rows.shape[1], shares.shape[1]
    blocks = np.empty((classes, features, classes, features))
    for one in range(classes):
        for other in range(one + 1):
            both = shares[:, one] * ((one == other) - shares[:, other])
            blocks[one, :, other] = blocks[other, :, one] = rows.T @ (rows * both[:, np.newaxis]) / len(rows)
    square = blocks.reshape(classes * features, classes * features)
    square[np.diag_indices_from(square)] += ridge
    return square


@dataclass(frozen=True, kw_only=True, eq=False)
class CharacterCounts:
    """Bits that each symbol costs after the ``order`` symbols before it, (symbols ** order, symbols)."""

    order: int
    costs: Floats

    def bits(self, texts: Integers) -> float:
        """Mean bits per symbol of texts (n, length), from the first symbol on that has ``order`` before it."""
        return float(
            self.costs[_contexts(texts, self.order, symbols=self.costs.shape[1]), texts[:, self.order :]].mean()
        )


def count_characters(texts: Integers, *, symbols: int, order: int) -> CharacterCounts:
    """How often each symbol follows each ``order`` symbols in texts (n, length), a tenth added to every count."""
    contexts = _contexts(texts, order, symbols=symbols)
    pairs = contexts * symbols + texts[:, order:]
    counts = np.bincount(pairs.reshape(-1), minlength=symbols ** (order + 1)).reshape(-1, symbols) + 0.1
    return CharacterCounts(order=order, costs=-np.log2(counts / counts.sum(axis=1, keepdims=True)))


def _contexts(texts: Integers, order: int, *, symbols: int) -> Integers:
    """The ``order`` symbols before each as one number (n, length - order)."""
    length = texts.shape[1] - order
    contexts = np.zeros((len(texts), length), dtype=np.int64)
    for place in range(order):
        contexts = contexts * symbols + texts[:, place : place + length]
    return contexts
