"""Generated text: its entropy is exact, and no predictor does with less."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from workloads.datasets.baselines import count_characters
from workloads.datasets.counter import Counter
from workloads.datasets.grammar import STATES, WORDS, character_source, spelled, word_source, words_of
from workloads.datasets.source import NOWHERE, Source
from workloads.datasets.text import Text

pytestmark = pytest.mark.numeric


def coin(share: float) -> Source:
    """After a, a comes again with probability ``share``; after b, always a: a chain known in closed form."""
    return Source(
        symbols=("a", "b"),
        probabilities=np.array([[share, 1 - share], [1.0, 0.0]]),
        following=np.array([[0, 1], [0, NOWHERE]]),
        start=0,
    )


def test_a_chain_known_in_closed_form() -> None:
    source = coin(0.75)
    bits = -0.75 * np.log2(0.75) - 0.25 * np.log2(0.25)
    np.testing.assert_allclose(source.stationary, [0.8, 0.2], rtol=1e-13)
    assert source.entropy_rate() == pytest.approx(0.8 * bits, rel=1e-13)
    assert source.ngram_entropy(1) == pytest.approx(0.8 * bits, rel=1e-13)
    assert source.ngram_entropy(0) == pytest.approx(-0.8 * np.log2(0.8) - 0.2 * np.log2(0.2), rel=1e-13)
    assert source.window_entropy(1) == pytest.approx(bits, rel=1e-13)
    assert source.window_entropy(2) == pytest.approx((1 + 0.75) * bits / 2, rel=1e-13)
    with pytest.raises(ValueError, match="0 or 1"):
        source.ngram_entropy(2)


def test_the_entropy_of_short_texts_is_that_of_all_texts_enumerated() -> None:
    source = word_source()
    length = 3
    texts: list[tuple[int, ...]] = [()]
    for _ in range(length):
        texts = [(*text, symbol) for text in texts for symbol in _possible(source, text)]
    costs = source.code_length(np.array(texts)).sum(axis=1)
    shares = 2.0**-costs
    assert shares.sum() == pytest.approx(1, rel=1e-12)
    assert (shares * costs).sum() / length == pytest.approx(source.window_entropy(length), rel=1e-12)


def _possible(source: Source, text: tuple[int, ...]) -> list[int]:
    state = source.start
    for symbol in text:
        state = int(source.following[state, symbol])
    return [int(symbol) for symbol in np.flatnonzero(source.probabilities[state])]


def test_characters_cost_what_their_words_do() -> None:
    words, characters = word_source(), character_source()
    lengths = np.array([len(word) + 1 for word in words.symbols])
    mean = float(words.stationary @ words.probabilities @ lengths)
    assert characters.entropy_rate() == pytest.approx(words.entropy_rate() / mean, rel=1e-10)
    assert characters.entropy_rate() == pytest.approx(0.752418127, abs=1e-9)
    assert words.entropy_rate() == pytest.approx(3.374454873, abs=1e-9)


def test_long_texts_cost_the_entropy_rate() -> None:
    for source, length in ((word_source(), 3000), (character_source(), 250)):
        assert source.window_entropy(length) == pytest.approx(source.entropy_rate(), rel=2 / length**0.9)
        assert source.window_entropy(length) != pytest.approx(source.entropy_rate(), rel=1e-9)


def test_a_text_of_characters_costs_as_much_as_the_words_in_it() -> None:
    words, characters = word_source(), character_source()
    texts = words.generate(Counter(seed=5), np.arange(20), length=15)
    costs = words.code_length(texts).sum(axis=1)
    for text, cost in zip(texts, costs, strict=True):
        letters = f"{words_of(list(text), words)} "
        numbers = np.array([[characters.symbols.index(letter) for letter in letters]])
        assert characters.code_length(numbers).sum() == pytest.approx(cost, rel=1e-10)


@pytest.mark.parametrize("unit", ["characters", "words"])
def test_generated_texts_cost_what_the_entropy_says(unit: str) -> None:
    text = Text(unit="words" if unit == "words" else "characters", length=40, seed=1)
    passages = text.generate(np.arange(3000))
    costs = text.source.code_length(passages.targets).mean(axis=1)
    assert costs.mean() == pytest.approx(text.least_bits, abs=4 * costs.std() / np.sqrt(len(costs)))


def test_short_memories_cost_more_and_counts_find_what_they_cost() -> None:
    source = character_source()
    texts = source.generate(Counter(seed=0), np.arange(1500), length=150)
    for order in (0, 1):
        counted = count_characters(texts[:1000, 20:], symbols=len(source.symbols), order=order).bits(texts[1000:, 20:])
        assert counted == pytest.approx(source.ngram_entropy(order), rel=0.01)
    orders = [count_characters(texts[:1000], symbols=25, order=order).bits(texts[1000:]) for order in range(4)]
    assert all(more > less for more, less in itertools.pairwise(orders))
    assert orders[3] > 1.2 * source.entropy_rate()


def test_the_verb_agrees_with_its_subject() -> None:
    words = word_source()
    text = words_of(words.generate(Counter(seed=2), np.arange(1), length=8_000)[0].tolist(), words)
    one, several = set(WORDS["moves"]) | set(WORDS["meets"]), set(WORDS["move"]) | set(WORDS["meet"])
    subjects = {**dict.fromkeys(WORDS["noun"], one), **dict.fromkeys(WORDS["nouns"], several)}
    clauses = text.replace(" but ", " and ").replace(" so ", " and ").replace(" . ", " and ").split(" and ")
    agreed = 0
    for clause in clauses[:-1]:
        subject = next(word for word in clause.split() if word in subjects)
        verb = next(word for word in clause.split() if word in one | several)
        assert verb in subjects[subject]
        agreed += 1
    assert agreed > 500


def test_tokens_are_one_symbol_behind_and_texts_follow_their_number() -> None:
    for text in (Text(length=30, seed=4), Text(unit="words", length=30, seed=4)):
        passages = text.generate(np.arange(50))
        np.testing.assert_array_equal(passages.tokens[:, 1:], passages.targets[:, :-1])
        assert {text.symbols[each] for each in passages.tokens[:, 0]} <= {" ", "."}
        again = text.generate(np.array([49, 7]))
        np.testing.assert_array_equal(again.targets, passages.targets[[49, 7]])
        longer = Text(unit=text.unit, length=45, seed=4).generate(np.array([7]))
        np.testing.assert_array_equal(longer.targets[:, :30], again.targets[1:])
        assert passages.targets.dtype == np.int64
        assert not np.array_equal(Text(unit=text.unit, length=30).generate(np.arange(50)).targets, passages.targets)


def test_the_grammar_is_whole() -> None:
    assert {choice.words for choices in STATES.values() for choice in choices} == set(WORDS)
    assert {choice.leads_to for choices in STATES.values() for choice in choices} == set(STATES)
    for choices in STATES.values():
        assert sum(choice.probability for choice in choices) == pytest.approx(1)
        words = [word for choice in choices for word in WORDS[choice.words]]
        assert len(words) == len(set(words))


def test_what_cannot_be_a_source_is_refused() -> None:
    with pytest.raises(ValueError, match="add to one"):
        Source(symbols=("a",), probabilities=np.array([[0.5]]), following=np.array([[0]]), start=0)
    with pytest.raises(ValueError, match="lead to a state"):
        Source(symbols=("a",), probabilities=np.array([[1.0]]), following=np.array([[NOWHERE]]), start=0)
    with pytest.raises(ValueError, match="space"):
        spelled(Source(symbols=("a b",), probabilities=np.array([[1.0]]), following=np.array([[0]]), start=0))
    with pytest.raises(ValueError, match="one symbol"):
        Text(length=0)
    assert np.isinf(coin(0.5).code_length(np.array([[1, 1, 0]]))[0, 1:]).all()
