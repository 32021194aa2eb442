"""The figures of novelty: texts and held-out text, compared with the training text."""

import numpy as np

from charlstm import Vocab
from charlstm.analysis.novelty import measure_novelty
from charlstm.analysis.stretches import Stretch


def ids(text):
    return np.frombuffer(text.encode(), np.uint8)


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


def test_short_or_missing_held_out_text():
    training, text = ids("abcdefghij" * 10), ids("abcdefg")
    report = measure_novelty([text], training, ids("xab"))
    assert (report.longest_of_pieces, report.held_out.symbols) == ([2], 3)
    report = measure_novelty([text], training, ids(""))
    assert report.held_out is None and report.to_dict()["held_out"] is None
    report = measure_novelty([ids("")], training, ids("abc"))
    assert report.held_out is None and report.texts.shares[20] == 0 and report.stretches == []


def test_stretches_shown_do_not_overlap():
    training = ids("abcdefgh--defghijk--ijkl")
    report = measure_novelty([ids("abcdefghijkl")], training, ids(""))
    assert [(s.start, s.length) for s in report.stretches] == [(0, 8), (8, 4)]


def test_words_are_counted_in_shorter_stretches():
    vocab = Vocab.from_words(["a", "b", "c"])
    text = vocab.encode("a b c a b a a c")
    report = measure_novelty([text], text, text[:0], unit=vocab.unit)
    assert report.texts.shares == {5: 1, 10: 0, 20: 0}


def test_complete_lines_of_the_training_text_are_counted():
    training = ids("anna\nbert\nclara\n\ndora\nann")
    held_out = ids("rta\nbert\nemil\nan")
    texts = [ids("anna\nbe\nclara\nclar"), ids("dora"), ids("ber\n\nbert\n")]
    report = measure_novelty(texts, training, held_out, line_end=ord("\n"))
    assert (report.texts.lines, report.texts.known_lines) == (7, 4)
    assert (report.texts.symbols, report.texts.longest) == (32, 7)
    held_out = report.held_out  # the complete lines of the piece: bert and emil
    assert (held_out.symbols, held_out.lines, held_out.known_lines) == (9, 2, 1)
    assert report.to_dict()["held_out"]["known_lines"] == 1
    assert report.stretches[:2] == [Stretch(0, 0, 7, 0), Stretch(0, 7, 7, 9)]
