"""Stretches that texts share with the training text: against an oracle, and on hard texts."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlstm.analysis import stretches, suffix_automaton
from charlstm.analysis.stretches import Stretch, find_matches


def longest_suffixes(text, training):
    """The length of the longest common substring that ends with each symbol, row by row."""
    row, lengths = np.zeros(len(training) + 1, int), []
    for symbol in text:
        row[1:] = np.where(training == symbol, row[:-1] + 1, 0)
        lengths.append(row.max())
    return np.array(lengths, int)


def maximal_substrings(text, training):
    """All (start, length) of common substrings, none within another, by trying each of them."""
    text, training = "".join(map(chr, text)), "".join(map(chr, training))
    common = {
        (start, stop)
        for start in range(len(text))
        for stop in range(start + 1, len(text) + 1)
        if text[start:stop] in training
    }
    return [
        (start, stop - start)
        for start, stop in sorted(common)
        if (start - 1, stop) not in common and (start, stop + 1) not in common
    ]


def check(texts, training):
    """Compare all matches with the oracle; return them."""
    matches = find_matches(texts, training)
    for text, found in zip(texts, matches, strict=True):
        assert found.lengths.tolist() == longest_suffixes(text, training).tolist()
        assert found.longest == max(found.lengths, default=0)
        for end in range(len(text)):
            stretch = found.stretch(end)
            of_text = text[stretch.start : end + 1]
            assert np.array_equal(training[stretch.place :][: stretch.length], of_text)
    return matches


@pytest.fixture
def narrow(monkeypatch):
    """Chunks, streams and passes so small that small texts have many of each."""
    monkeypatch.setattr(suffix_automaton, "SYMBOLS_AT_ONCE", 500)
    monkeypatch.setattr(suffix_automaton, "MIN_STREAM_LENGTH", 7)
    monkeypatch.setattr(suffix_automaton, "MAX_STREAM_LENGTH", 20)
    monkeypatch.setattr(suffix_automaton, "CONVERTED_AT_ONCE", 64)
    monkeypatch.setattr(stretches, "MAX_TABLE_ENTRIES", 1)
    monkeypatch.setattr(stretches, "MIN_SECTION_LENGTH", 13)


# -- against the oracle --------------------------------------------------------------------------


@st.composite
def texts_and_training(draw):
    size = draw(st.integers(1, 4))
    symbols = st.integers(0, size - 1)
    texts = draw(st.lists(st.lists(symbols, max_size=25), min_size=1, max_size=3))
    # the texts, among other symbols, some of which the texts do not have
    pieces = [st.lists(st.integers(0, size), max_size=20), *map(st.just, texts)]
    training = [id_ for piece in draw(st.lists(st.one_of(pieces), max_size=5)) for id_ in piece]
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.uint32]))
    return [np.array(text, dtype) for text in texts], np.array(training, dtype)


@given(texts_and_training())
@settings(max_examples=100)
def test_all_maximal_stretches_of_small_texts(given):
    texts, training = given
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suffix_automaton, "MIN_STREAM_LENGTH", 32)  # the rest would be padding
        for text, found in zip(texts, check(texts, training), strict=True):
            maximal = [found.stretch(end) for end in found.ends]
            assert [(s.start, s.length) for s in maximal] == maximal_substrings(text, training)


@pytest.mark.parametrize("seed", range(40))
def test_matches_across_streams_chunks_and_passes(seed, narrow):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 5))
    texts = [rng.integers(size, size=n).astype(np.uint8) for n in rng.integers(90, size=3)]
    training = rng.integers(size + 1, size=int(rng.integers(1, 2000))).astype(np.uint8)
    for text in texts:
        if len(text) < len(training):
            place = int(rng.integers(len(training) - len(text)))
            training[place : place + len(text)] = text
    check(texts, training)


@pytest.mark.parametrize("seed", range(5))
def test_matches_of_words_in_a_large_vocabulary(seed):
    rng = np.random.default_rng(seed)
    training = rng.zipf(1.3, size=4000).clip(max=100_000).astype(np.uint32)
    text = np.concatenate((training[100:150], rng.zipf(1.3, size=300).clip(max=200_000)))
    check([text.astype(np.uint32)], training)


def test_covered_counts_each_symbol_once():
    rng = np.random.default_rng(6)
    for _ in range(15):
        text, training = (rng.integers(3, size=n).astype(np.uint8) for n in (60, 80))
        (found,) = find_matches([text], training)
        maximal = maximal_substrings(text, training)
        for min_length in range(1, 9):
            within = np.zeros(60, bool)
            for start, length in maximal:
                if length >= min_length:
                    within[start : start + length] = True
            assert found.covered(min_length) == within.sum()


# -- planted copies ------------------------------------------------------------------------------


def test_planted_copies_are_found_in_their_places():
    rng = np.random.default_rng(1)
    training = rng.integers(256, size=1_000_000).astype(np.uint8)
    text = rng.integers(256, size=3000).astype(np.uint8)
    planted = [
        Stretch(0, 100, 400, 700_000),
        Stretch(0, 1500, 64, 3),
        Stretch(0, 2990, 10, 999_990),
    ]
    for s in planted:
        text[s.start : s.start + s.length] = training[s.place : s.place + s.length]
        for beside in (s.start - 1, s.start + s.length):  # not longer by chance
            before = s.place - 1 if beside < s.start else s.place + s.length
            if beside < len(text) and before < len(training):
                text[beside] = training[before] + np.uint8(1)
    (found,) = find_matches([text], training)
    long = [found.stretch(end) for end in found.ends if found.lengths[end] > 5]
    assert long == planted
    assert [found.covered(n) for n in (6, 10, 11, 64, 65, 401)] == [474, 474, 464, 464, 400, 0]


@pytest.mark.parametrize(
    "place",
    [suffix_automaton.SYMBOLS_AT_ONCE - 70, suffix_automaton.SYMBOLS_AT_ONCE - 1, 1024 * 3 - 30],
)
def test_copies_across_the_border_of_chunks_or_streams(place):
    rng = np.random.default_rng(2)
    training = rng.integers(60, size=suffix_automaton.SYMBOLS_AT_ONCE + 5000).astype(np.uint8)
    text = training[place : place + 140].copy()
    text[-1] = 99  # not in the training text
    (found,) = find_matches([text], training)
    assert found.stretch(138) == Stretch(0, 0, 139, place)
    assert found.lengths[-1] == 0


def test_a_complete_copy_and_texts_with_nothing_in_common():
    training = np.random.default_rng(3).integers(50, size=5000).astype(np.uint8)
    (found,) = find_matches([training], training)
    assert (found.longest, found.covered(5000), found.ends.tolist()) == (5000, 5000, [4999])
    (found,) = find_matches([training + np.uint8(50)], training)
    assert (found.longest, found.covered(1), len(found.ends)) == (0, 0, 0)
    empty, other = find_matches([training[:0], training[7:9]], training)
    assert (len(empty.lengths), empty.longest, empty.covered(1)) == (0, 0, 0)
    assert other.longest == 2
    assert find_matches([training], training[:0])[0].longest == 0


def test_very_long_stretches_across_passes_may_be_found_as_two(narrow, monkeypatch):
    monkeypatch.setattr(stretches, "MAX_OVERLAP", 20)
    text = np.random.default_rng(4).integers(4, size=100).astype(np.uint8)
    found = find_matches([text], text)[0]
    assert 20 < found.longest < 100 and found.covered(20) == 100


# -- repetitive texts, time and memory -----------------------------------------------------------


def fibonacci_word(length):
    before, word = "a", "ab"
    while len(word) < length:
        before, word = word, word + before
    return np.frombuffer(word[:length].encode(), np.uint8)


def thue_morse_word(length):
    return np.array([bin(n).count("1") % 2 for n in range(length)], np.uint8)


@pytest.mark.parametrize(
    ("text", "training", "longest"),
    [
        (np.zeros(2000, np.uint8), np.zeros(3_000_000, np.uint8), 2000),
        (np.zeros(2000, np.uint8), np.tile(np.uint8([0] * 1999 + [1]), 1500), 1999),
        (np.tile(np.uint8([0, 1]), 1000), np.tile(np.uint8([1, 0]), 1_500_000), 2000),
        (np.tile(np.uint8([0] * 20 + [1]), 95), np.tile(np.uint8([0] * 21 + [1]), 140_000), 41),
        (fibonacci_word(2000), fibonacci_word(3_000_000)[1000:], 2000),
        (thue_morse_word(2000), thue_morse_word(1 << 18)[5000:], 2000),
    ],
    ids=["one symbol", "nearly one", "two in turn", "runs", "Fibonacci", "Thue-Morse"],
)
def test_repetitive_texts_take_no_longer(text, training, longest):
    began = time.process_time()
    (found,) = find_matches([text], training)
    assert found.longest == longest
    assert time.process_time() - began < 10  # 0.3 s measured; comparing all pairs takes hours


def test_memory_does_not_grow_with_the_training_text(monkeypatch):
    monkeypatch.setattr(suffix_automaton, "SYMBOLS_AT_ONCE", 1 << 21)
    rng = np.random.default_rng(5)
    training = rng.integers(60, size=4 << 21, dtype=np.uint8)
    text = rng.integers(60, size=1000, dtype=np.uint8)
    tracemalloc.start()
    find_matches([text], training)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6 < training.nbytes


def test_progress_counts_the_symbols_of_all_passes(narrow):
    calls = []
    text, training = np.zeros(30, np.uint8), np.ones(1300, np.uint8)
    find_matches([text], training, lambda done, total: calls.append((done, total)))
    assert [total for _, total in calls] == [3900] * len(calls)  # three passes of at most 13
    done = [done for done, _ in calls]
    assert done == sorted(done) and len(set(done)) > 3 and done[-1] == 3900
