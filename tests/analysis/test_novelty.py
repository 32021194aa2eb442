"""What a text shares with the training text: against an oracle, on hard texts, and in figures."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlstm import Vocab
from charlstm.analysis import novelty, suffix_automaton
from charlstm.analysis.novelty import Stretch, measure_novelty, shared


def longest_ends(text, training):
    """Of the longest common substring that ends with each symbol, the length; row by row."""
    row, lengths = np.zeros(len(training) + 1, int), []
    for symbol in text:
        row[1:] = np.where(training == symbol, row[:-1] + 1, 0)
        lengths.append(row.max())
    return np.array(lengths, int)


def maximal(text, training):
    """All (start, length) of substrings that both have, none within another, by trying them all."""
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
    for text, found in zip(texts, shared(texts, training), strict=True):
        assert found.lengths.tolist() == longest_ends(text, training).tolist()
        assert found.longest == max(found.lengths, default=0)
        for end in range(len(text)):
            stretch = found.stretch(end)
            of_text = text[stretch.start : end + 1]
            assert np.array_equal(training[stretch.place :][: stretch.length], of_text)


@pytest.fixture
def narrow(monkeypatch):
    """Chunks, batch_size and parts so small that small texts have many of each."""
    monkeypatch.setattr(suffix_automaton, "SYMBOLS_AT_ONCE", 500)
    monkeypatch.setattr(suffix_automaton, "SHORTEST_STREAM", 7)
    monkeypatch.setattr(suffix_automaton, "LONGEST_STREAM", 20)
    monkeypatch.setattr(suffix_automaton, "PIECE", 64)
    monkeypatch.setattr(novelty, "AUTOMATON_ENTRIES", 1)
    monkeypatch.setattr(novelty, "SHORTEST_PART", 13)


# -- against the oracle --------------------------------------------------------------------------


@st.composite
def texts_and_training(draw):
    size = draw(st.integers(1, 4))
    symbols = st.integers(0, size - 1)
    texts = draw(st.lists(st.lists(symbols, max_size=25), min_size=1, max_size=3))
    # pieces of the texts among other symbols, some that the texts do not have
    pieces = [st.lists(st.integers(0, size), max_size=20), *map(st.just, texts)]
    training = [id_ for piece in draw(st.lists(st.one_of(pieces), max_size=5)) for id_ in piece]
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.uint32]))
    return [np.array(text, dtype) for text in texts], np.array(training, dtype)


@given(texts_and_training())
@settings(max_examples=100, deadline=None)
def test_all_maximal_stretches_of_small_texts(given):
    texts, training = given
    check(texts, training)
    for text, found in zip(texts, shared(texts, training), strict=True):
        stretches = [found.stretch(end) for end in found.ends]
        assert [(s.start, s.length) for s in stretches] == maximal(text, training)


@pytest.mark.parametrize("seed", range(40))
def test_over_borders_of_lanes_chunks_and_parts(seed, narrow):
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
def test_one_symbol_after_the_other_as_the_ids_of_words(seed):
    rng = np.random.default_rng(seed)
    training = rng.zipf(1.3, size=4000).clip(max=100_000).astype(np.uint32)
    text = np.concatenate((training[100:150], rng.zipf(1.3, size=300).clip(max=200_000)))
    check([text.astype(np.uint32)], training)


# -- planted copies ------------------------------------------------------------------------------


def test_planted_copies_are_found_where_they_are():
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
    (found,) = shared([text], training)
    long = [found.stretch(end) for end in found.ends if found.lengths[end] > 5]
    assert long == planted
    assert [found.covered(n) for n in (6, 10, 11, 64, 65, 401)] == [474, 474, 464, 464, 400, 0]


@pytest.mark.parametrize(
    "place",
    [suffix_automaton.SYMBOLS_AT_ONCE - 70, suffix_automaton.SYMBOLS_AT_ONCE - 1, 1024 * 3 - 30],
)
def test_copies_over_a_border_of_chunks_or_lanes(place):
    rng = np.random.default_rng(2)
    training = rng.integers(60, size=suffix_automaton.SYMBOLS_AT_ONCE + 5000).astype(np.uint8)
    text = training[place : place + 140].copy()
    text[-1] = 99  # is nowhere
    (found,) = shared([text], training)
    assert found.stretch(138) == Stretch(0, 0, 139, place)
    assert found.lengths[-1] == 0


def test_a_whole_text_copied_and_nothing_shared():
    training = np.random.default_rng(3).integers(50, size=5000).astype(np.uint8)
    (found,) = shared([training], training)
    assert (found.longest, found.covered(5000), found.ends.tolist()) == (5000, 5000, [4999])
    (found,) = shared([training + np.uint8(50)], training)
    assert (found.longest, found.covered(1), len(found.ends)) == (0, 0, 0)
    empty, other = shared([training[:0], training[7:9]], training)
    assert (len(empty.lengths), empty.longest, empty.covered(1)) == (0, 0, 0)
    assert other.longest == 2
    assert shared([training], training[:0])[0].longest == 0


def test_longest_stretches_of_long_texts_may_be_told_as_two(narrow, monkeypatch):
    monkeypatch.setattr(novelty, "LONGEST_OVERLAP", 20)
    text = np.random.default_rng(4).integers(4, size=100).astype(np.uint8)
    found = shared([text], text)[0]
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
    (found,) = shared([text], training)
    assert found.longest == longest
    assert time.process_time() - began < 10  # 0.3 s were measured; every pair of places: hours


def test_memory_does_not_grow_with_the_training_text():
    rng = np.random.default_rng(5)
    training = rng.integers(60, size=3 * suffix_automaton.SYMBOLS_AT_ONCE).astype(np.uint8)
    text = rng.integers(60, size=2000).astype(np.uint8)
    tracemalloc.start()
    shared([text], training)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6 < training.nbytes


def test_progress_is_told_to_the_end(narrow):
    told = []
    text, training = np.zeros(30, np.uint8), np.ones(1300, np.uint8)
    shared([text], training, lambda done, total: told.append((done, total)))
    assert [total for _, total in told] == [3900] * len(told)  # three parts of at most 13
    done = [done for done, _ in told]
    assert done == sorted(done) and len(set(done)) > 3 and done[-1] == 3900


# -- the report's figures ------------------------------------------------------------------------


def ids(text):
    return np.frombuffer(text.encode(), np.uint8)


def test_covered_counts_each_symbol_once():
    rng = np.random.default_rng(6)
    for _ in range(15):
        text, training = (rng.integers(3, size=n).astype(np.uint8) for n in (60, 80))
        (found,) = shared([text], training)
        for at_least in range(1, 9):
            within = np.zeros(60, bool)
            for start, length in maximal(text, training):
                if length >= at_least:
                    within[start : start + length] = True
            assert found.covered(at_least) == within.sum()


def test_report_beside_held_out_text():
    rng = np.random.default_rng(7)
    training, held_out = (rng.integers(200, size=n).astype(np.uint8) for n in (50_000, 10_000))
    texts = [rng.integers(200, size=500).astype(np.uint8) for _ in range(2)]
    texts[1][100:160] = training[1000:1060]
    texts[1][130] += 1
    texts[0][490:500] = training[2000:2010]
    for piece, length in enumerate((22, 25, 30, 35, 120)):  # of 1,000 symbols from 0, 2250, ...
        place = piece * 2250 + 100
        held_out[place : place + length] = training[7000 : 7000 + length]
    report = measure_novelty(texts, training, held_out)
    assert (report.count, report.longest_of_pieces) == (2, [22, 25, 30, 35, 120])
    assert (report.texts.symbols, report.held_out.symbols) == (1000, 5000)
    assert report.stretches == [
        Stretch(1, 100, 30, 1000), Stretch(1, 131, 29, 1031), Stretch(0, 490, 10, 2000),
    ]  # fmt: skip
    assert report.texts.longest == 30 and report.texts.shares == {20: 0.059, 50: 0, 100: 0}
    shares = report.held_out.shares
    assert report.held_out.longest == 30 and shares[100] == shares[50] == 120 / 5000
    assert shares[20] == 232 / 5000
    record = report.to_dict()
    assert record["stretches"][0] == {"number": 1, "start": 100, "length": 30, "place": 1000}
    assert (
        len(record["held_out"]["longest_of_pieces"]) == 5
        and record["held_out"]["shares"]["50"] == 0.024
    )
    assert record["longest"] == 30 and "lines" not in record


def test_held_out_text_that_is_short_or_missing():
    training, text = ids("abcdefghij" * 10), ids("abcdefg")
    report = measure_novelty([text], training, ids("xab"))
    assert (report.longest_of_pieces, report.held_out.symbols) == ([2], 3)
    report = measure_novelty([text], training, ids(""))
    assert report.held_out is None and report.to_dict()["held_out"] is None
    report = measure_novelty([ids("")], training, ids("abc"))
    assert report.held_out is None and report.texts.shares[20] == 0 and report.stretches == []


def test_stretches_that_are_told_do_not_overlap():
    training = ids("abcdefgh--defghijk--ijkl")
    report = measure_novelty([ids("abcdefghijkl")], training, ids(""))
    assert [(s.start, s.length) for s in report.stretches] == [(0, 8), (8, 4)]


def test_words_are_counted_in_shorter_stretches():
    vocab = Vocab.from_words(["a", "b", "c"])
    text = vocab.encode("a b c a b a a c")
    report = measure_novelty([text], text, text[:0], unit=vocab.unit)
    assert report.texts.shares == {5: 1, 10: 0, 20: 0}


def test_lines_that_are_known_as_a_whole():
    training = ids("anna\nbert\nclara\n\ndora\nann")
    held_out = ids("rta\nbert\nemil\nan")
    texts = [ids("anna\nbe\nclara\nclar"), ids("dora"), ids("ber\n\nbert\n")]
    report = measure_novelty(texts, training, held_out, line_end=ord("\n"))
    assert (report.texts.lines, report.texts.known_lines) == (7, 4)
    assert (report.texts.symbols, report.texts.longest) == (32, 7)
    held_out = report.held_out  # of the piece, the whole lines: bert and emil
    assert (held_out.symbols, held_out.lines, held_out.known_lines) == (9, 2, 1)
    assert report.to_dict()["held_out"]["known_lines"] == 1
    assert report.stretches[:2] == [Stretch(0, 0, 7, 0), Stretch(0, 7, 7, 9)]
