"""Matches: against a search of the whole text, as probabilities, and on texts that repeat."""

import numpy as np
import pytest

from charlstm.analysis import matches
from charlstm.analysis.matches import Matches


def uniform(n, V):
    return np.full((n, V), -np.log(V))


def expected_by_search(text, shortest, start):
    """For each place from `start`: the symbols that followed the last `shortest` symbols before."""
    found = []
    for place in range(start, len(text)):
        context = text[place - shortest : place]
        ends = [k for k in range(shortest, place) if text[k - shortest : k] == context]
        found.append({text[end] for end in ends if end < place})
    return found


@pytest.mark.parametrize("length", [0, 2, 3, 60])
def test_a_match_is_an_earlier_occurrence_of_the_last_symbols(length, monkeypatch):
    monkeypatch.setattr(matches, "HASHED_AT_ONCE", 7)
    text = np.random.default_rng(1).integers(3, size=150)
    reader = Matches(3, text[:length])
    wanted = expected_by_search(text.tolist(), 3, max(3, length))
    for symbol in text[length:3].tolist():
        reader.read(symbol)
    for symbol, possible in zip(text[max(3, length) :].tolist(), wanted, strict=True):
        if reader._length >= 3:
            assert reader._at(reader._next) in possible
        else:
            assert not possible
        reader.read(symbol)


def test_a_followed_match_is_as_long_as_the_repeated_passage():
    passage = np.random.default_rng(2).integers(100, size=50)
    reader = Matches(4, np.concatenate([passage, [7], passage]))
    for symbol in [8, *passage.tolist()]:
        reader.read(symbol)
    assert (reader._next, reader._length) == (101, 50)  # the newest occurrence, from its beginning


def test_probabilities_stay_a_distribution():
    text = np.tile(np.arange(5), 30)
    for last in range(5):
        reader = Matches(2)
        reader.mix(uniform(len(text), 6), text)
        losses = []
        for symbol in range(6):
            other = Matches(2)
            other.mix(uniform(len(text), 6), text)
            losses.append(other.mix(uniform(1, 6), np.array([symbol]))[0])
        assert np.exp(-np.array(losses)).sum() == pytest.approx(1)
        assert np.argmin(losses) == 0, last


def test_the_loss_of_a_repeated_text_falls_and_that_of_a_random_text_hardly_rises():
    rng = np.random.default_rng(3)
    passage = rng.integers(20, size=500)
    again = Matches(6, passage).mix(uniform(500, 20), passage)
    assert again[:6] == pytest.approx(np.log(20))  # no context yet
    assert again[100:].mean() < 0.2
    noise = rng.integers(4, size=5_000)
    random = Matches(4).mix(uniform(5_000, 4), noise)
    assert random.mean() < np.log(4) + 0.005
    assert Matches(6).mix(uniform(30, 40), np.arange(30)) == pytest.approx(np.log(40))


def test_the_history_may_have_any_type_and_is_not_changed():
    text = np.tile(np.arange(7), 9)
    losses = [
        Matches(3, text.astype(dtype)).mix(uniform(9, 7), text[:9])
        for dtype in (np.uint8, np.uint16, np.int64)
    ]
    assert np.array_equal(losses[0], losses[1]) and np.array_equal(losses[0], losses[2])
