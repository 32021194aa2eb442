"""The figures of novelty: texts and held-out text, compared with the training text."""

import numpy as np
import pytest

from charlstm import CharlstmError, Vocab, novelty
from charlstm.analysis.novelty import measure_novelty
from charlstm.analysis.stretches import Stretch

BYTES = Vocab.bytes()


def ids(text):
    return np.frombuffer(text.encode(), np.uint8)


def text_at(training, place, length):
    return BYTES.decode(training[place : place + length], "surrogateescape")


def test_figures_beside_those_of_held_out_text():
    rng = np.random.default_rng(7)
    training, held_out = (rng.integers(200, size=n).astype(np.uint8) for n in (50_000, 10_000))
    texts = [rng.integers(200, size=500).astype(np.uint8) for _ in range(2)]
    texts[1][100:160] = training[1000:1060]
    texts[1][130] += 1
    texts[0][490:500] = training[2000:2010]
    for piece, length in enumerate((22, 25, 30, 35, 120)):  # of 1,000 symbols from 0, 2250, ...
        place = piece * 2250 + 100
        held_out[place : place + length] = training[7000 : 7000 + length]
    report = measure_novelty(texts, training, held_out, BYTES)
    assert (report.count, report.longest_of_pieces) == (2, [22, 25, 30, 35, 120])
    assert (report.texts.symbols, report.held_out.symbols) == (1000, 5000)
    assert report.stretches == [
        Stretch(number, start, length, place, text_at(training, place, length))
        for number, start, length, place in (
            (1, 100, 30, 1000),
            (1, 131, 29, 1031),
            (0, 490, 10, 2000),
        )
    ]
    assert report.texts.longest == 30 and report.texts.shares == {20: 0.059, 50: 0, 100: 0}
    shares = report.held_out.shares
    assert report.held_out.longest == 30 and shares[100] == shares[50] == 120 / 5000
    assert shares[20] == 232 / 5000
    record = report.to_dict()
    assert record["stretches"][0] == {
        "number": 1, "start": 100, "length": 30, "place": 1000,
        "text": text_at(training, 1000, 30),
    }  # fmt: skip
    assert (
        len(record["held_out"]["longest_of_pieces"]) == 5
        and record["held_out"]["shares"]["50"] == 0.024
    )
    assert record["longest"] == 30 and "lines" not in record


def test_short_or_missing_held_out_text():
    training, text = ids("abcdefghij" * 10), ids("abcdefg")
    report = measure_novelty([text], training, ids("xab"), BYTES)
    assert (report.longest_of_pieces, report.held_out.symbols) == ([2], 3)
    report = measure_novelty([text], training, ids(""), BYTES)
    assert report.held_out is None and report.to_dict()["held_out"] is None
    report = measure_novelty([ids("")], training, ids("abc"), BYTES)
    assert report.held_out is None and report.texts.shares[20] == 0 and report.stretches == []


def test_stretches_shown_do_not_overlap():
    training = ids("abcdefgh--defghijk--ijkl")
    report = measure_novelty([ids("abcdefghijkl")], training, ids(""), BYTES)
    assert [(s.start, s.length) for s in report.stretches] == [(0, 8), (8, 4)]


def test_words_are_counted_in_shorter_stretches():
    vocab = Vocab.from_words(["a", "b", "c"])
    text = vocab.encode("a b c a b a a c")
    report = measure_novelty([text], text, text[:0], vocab)
    assert report.texts.shares == {5: 1, 10: 0, 20: 0}


def test_complete_lines_of_the_training_text_are_counted():
    training = ids("anna\nbert\nclara\n\ndora\nann")
    held_out = ids("rta\nbert\nemil\nan")
    texts = [ids("anna\nbe\nclara\nclar"), ids("dora"), ids("ber\n\nbert\n")]
    report = measure_novelty(texts, training, held_out, BYTES, lines=True)
    assert (report.texts.lines, report.texts.known_lines) == (7, 4)
    assert (report.texts.symbols, report.texts.longest) == (32, 7)
    held_out = report.held_out  # the complete lines of the piece: bert and emil
    assert (held_out.symbols, held_out.lines, held_out.known_lines) == (9, 2, 1)
    assert report.to_dict()["held_out"]["known_lines"] == 1
    assert report.stretches[:2] == [
        Stretch(0, 0, 7, 0, "anna\nbe"), Stretch(0, 7, 7, 9, "\nclara\n"),
    ]  # fmt: skip


def test_pieces_of_held_out_text_without_a_whole_line_are_left_out():
    training, held_out = ids("anna\nbert\nclara\n" * 9), ids("berta\n" * 9 + "a\nb\na\n")
    report = measure_novelty([ids("emi")], training, held_out, BYTES, lines=True)
    assert report.longest_of_pieces == [1] and report.held_out.symbols == 1
    report = measure_novelty([ids("emi")], training, held_out[:-6], BYTES, lines=True)
    assert report.held_out is None and report.longest_of_pieces == []


# -- charlstm.novelty ------------------------------------------------------------------------------

TRAINING = "the cat sat on the mat.\nthe dog sat on the log.\n" * 3


def test_the_library_compares_texts():
    report = novelty("a cat sat on the mat. xyz", TRAINING, held_out="the cow sat on the cot.\n")
    assert report.texts.longest == 20 and report.texts.shares[20] == 20 / 25
    assert (report.stretches[0].start, report.stretches[0].text) == (1, " cat sat on the mat.")
    assert report.held_out.longest == len(" sat on the ")
    assert repr(report) == (
        "Novelty(25 symbols, 80.0% in stretches of 20, 0.0% in stretches of 50, 0.0% in stretches "
        "of 100, longest stretch 20; of held-out text 12)"
    )


def test_the_library_compares_several_texts_bytes_words_and_lines():
    samples = ["the cat", "é☃"]
    assert novelty(iter(samples), TRAINING).texts.symbols == 9
    in_bytes = novelty(samples, TRAINING, level="byte")
    assert (in_bytes.count, in_bytes.texts.symbols) == (2, 7 + 5)
    in_words = novelty("dog sat on the log", TRAINING, level="word")
    assert in_words.texts.shares == {5: 1, 10: 0, 20: 0}
    assert in_words.stretches[0].text == "dog sat on the log"
    lines = novelty("the cat\nthe dog sat on the log.\n", TRAINING, lines=True)
    assert (lines.texts.lines, lines.texts.known_lines) == (2, 1)
    assert novelty([], TRAINING, lines=True).texts.lines == 0
    assert novelty([], TRAINING).texts.symbols == novelty("", "").texts.longest == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sample": 5}, "`sample` must be of type str, not 5"),
        ({"sample": ["a", b"b"]}, "`sample` must be of type str, not b'b'"),
        ({"training_text": None}, "`training_text` must be of type str, not None"),
        ({"held_out": 5}, "`held_out` must be of type str, not 5"),
        ({"level": "letter"}, "`level` must be one of char, byte, word, not 'letter'"),
        ({"level": ["char"]}, r"`level` must be one of char, byte, word, not \['char'\]"),
        ({"lines": 1}, "`lines` must be of type bool, not 1"),
        ({"heldout": ""}, "unknown option 'heldout': did you mean 'held_out'"),
    ],
)
def test_the_library_names_the_argument_that_it_refuses(given, message):
    with pytest.raises(CharlstmError, match=f"^{message}"):
        novelty(**{"sample": "a", "training_text": "b", **given})
