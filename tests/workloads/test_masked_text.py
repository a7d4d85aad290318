"""Pairs of pieces of text: what is left out, what is shown instead, and which second pieces follow."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.datasets.grammar import word_source
from workloads.datasets.masked_text import NONE, SPECIAL, MaskedText

pytestmark = pytest.mark.numeric


def test_pairs_are_laid_out_as_they_should_be() -> None:
    text = MaskedText(length=12)
    pairs = text.generate(np.arange(50))
    names = [text.symbols[each] for each in pairs.tokens[0, [0, 5, 11]]]
    assert names == ["[class]", "[separator]", "[separator]"]
    assert pairs.segments[7].tolist() == [0] * 6 + [1] * 6
    special = [0, 5, 11]
    assert (pairs.masked[:, special] == NONE).all()
    assert set(np.unique(pairs.follows)) == {0, 1}
    assert text.symbols[-3:] == SPECIAL


def test_pieces_that_follow_are_one_text_and_others_are_not() -> None:
    text, source = MaskedText(length=23, seed=1), word_source()
    pairs = text.generate(np.arange(400))
    shown = np.where(pairs.masked == NONE, pairs.tokens, pairs.masked)
    words = np.delete(shown, [0, 11, 22], axis=1)
    possible = np.isfinite(source.code_length(words)).all(axis=1)
    assert possible[pairs.follows == 1].all()
    assert possible[pairs.follows == 0].mean() < 0.5
    assert 0.4 < pairs.follows.mean() < 0.6


def test_words_are_left_out_in_the_shares_of_bert() -> None:
    text = MaskedText(length=63)
    pairs = text.generate(np.arange(1000))
    chosen = pairs.masked != NONE
    count = chosen.sum()
    assert count / (60 * 1000) == pytest.approx(0.15, abs=0.006)
    shown, wanted = pairs.tokens[chosen], pairs.masked[chosen]
    mask = text.symbols.index("[mask]")
    assert (shown == mask).mean() == pytest.approx(0.8, abs=0.02)
    kept = ((shown == wanted) & (shown != mask)).mean()
    assert kept == pytest.approx(0.1 + 0.1 / 92, abs=0.02)
    assert not (pairs.tokens[~chosen] == mask).any()


def test_pairs_follow_seed_and_number_alone() -> None:
    text = MaskedText(seed=2)
    pairs, alone = text.generate(np.array([9, 4, 9])), text.generate(np.array([4]))
    for name in ("tokens", "segments", "masked", "follows"):
        both = getattr(pairs, name)
        np.testing.assert_array_equal(both[0], both[2])
        np.testing.assert_array_equal(both[1], getattr(alone, name)[0])
    assert not np.array_equal(MaskedText(seed=3).generate(np.array([4])).tokens, alone.tokens)


def test_too_short_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 5"):
        MaskedText(length=4)
