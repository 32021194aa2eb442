"""Texts that would fill memory or take for ever: bounded or refused, whatever they hold."""

import subprocess
import sys
import time

import pytest

import charlstm
from charlstm import CharlstmError, Vocab
from charlstm.cli.text_input import LONGEST_LINE, split_lines
from charlstm.network import scoring
from charlstm.text import corpus
from charlstm.text.corpus import open_corpus
from charlstm.text.words import LINE_END, UNKNOWN_WORD, WordCounts

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_lines_are_the_same_in_any_pieces(size):
    text = "ab\r\n\n\ncde\rf\n" + "g" * 20 + "\nh"
    pieces = [text[k : k + size] for k in range(0, len(text), size)]
    expected = ["ab", "", "", "cde\rf", "g" * 20, "h"]
    assert list(split_lines(iter(pieces))) == expected
    assert list(split_lines(iter([*pieces, "\n"]))) == expected


def test_a_line_without_end_is_refused_before_all_of_it_is_read():
    began, read = time.perf_counter(), []

    def pieces():
        yield "first\n"
        for k in range(4000):  # a gigabyte
            read.append(k)
            yield "x" * (1 << 18)

    lines = split_lines(pieces())
    assert next(lines) == "first"
    with pytest.raises(CharlstmError, match="a line of more than 4,194,304 characters: charlstm"):
        next(lines)
    assert len(read) == LONGEST_LINE // (1 << 18) + 1 and time.perf_counter() - began < 5


def test_long_texts_are_scored_few_at_a_time_and_alike(trained, monkeypatch):
    model = charlstm.load(trained)
    texts = ["the cat sees a dog.", "", "my lord", "a dog"] * 3
    whole = [score.loss.nats for score in scoring.score_texts(model, texts)]
    monkeypatch.setattr(scoring, "CHARACTERS_AT_ONCE", 20)
    assert list(map(len, scoring.chunks(texts))) == [3, 2, 4, 3]
    few = [score.loss.nats for score in scoring.score_texts(model, texts)]
    assert few == pytest.approx(whole, rel=1e-5)


def test_texts_over_many_symbols_are_scored_few_at_a_time_and_alike(trained, monkeypatch):
    model = charlstm.load(trained)
    texts = ["the cat sees a dog.", "", "my lord", "a dog"] * 3
    whole = [score.loss.nats for score in scoring.score_texts(model, texts)]
    sizes = []
    losses = scoring._batch_losses
    monkeypatch.setattr(
        scoring, "PROBABILITIES_AT_ONCE", 2 * scoring.STEPS_AT_ONCE * len(model.vocab)
    )
    monkeypatch.setattr(
        scoring, "_batch_losses", lambda *given: sizes.append(len(given[1])) or losses(*given)
    )
    few = [score.loss.nats for score in scoring.score_texts(model, texts)]
    assert few == pytest.approx(whole, rel=1e-5) and sizes == [2] * 6


def test_words_are_counted_as_they_are_where_there_are_few():
    counts = WordCounts(max_words=4)
    for _ in range(3):
        counts.add(["b", "a", "b", "é"])
    counts.finish()
    assert counts.counts == {"b": 6, "a": 3, "é": 3} and counts.forgotten == 0
    assert counts.most_frequent(None) == ["b", "a", "é"] and counts.most_frequent(1) == ["b"]
    assert counts.bytes == 6 + 3 + 6


def test_the_rarest_words_are_forgotten_where_there_are_too_many():
    counts = WordCounts(max_words=100)
    for k in range(1000):
        counts.add(["often", f"rare{k}"])
        assert len(counts.counts) <= 101
    counts.finish()
    assert counts.counts["often"] == 1000 and counts.most_frequent(1) == ["often"]
    assert counts.bytes == 5 * 1000 + sum(len(f"rare{k}") for k in range(1000))


def test_words_that_are_long_are_forgotten_before_they_fill_memory():
    counts = WordCounts(max_characters=10_000)
    for k in range(100):
        counts.add([f"{k:0500}", "a"])
        assert sum(map(len, counts.counts)) <= 10_500
    assert counts.counts["a"] == 100


def test_more_words_than_a_vocabulary_may_have_need_a_size(write, monkeypatch):
    monkeypatch.setattr(corpus, "MAX_SYMBOLS", 50)
    path = write("words.txt", "often " * 9 + " ".join(f"w{k}" for k in range(100)))
    with pytest.raises(CharlstmError, match=r"more distinct words .* \(50\): .* --vocab-size"):
        open_corpus([path], level="word")
    vocab = open_corpus([path], level="word", vocab_size=4).vocab
    assert vocab == Vocab.from_words(["often", "w0"])
    with pytest.raises(CharlstmError, match="--vocab-size takes a number from 3 to 50"):
        open_corpus([path], level="word", vocab_size=51)
    monkeypatch.setattr(corpus, "MAX_CHARACTERS_OF_WORDS", 6)
    with pytest.raises(CharlstmError, match="distinct words of 9 characters together, at most 6"):
        open_corpus([path], level="word", vocab_size=5)
    vocab = open_corpus([path], level="word", vocab_size=3).vocab
    assert set(vocab.symbols) == {"often", LINE_END, UNKNOWN_WORD}


MEMORY = """
import re, sys, charlstm
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1000
before = peak()
path, level, size = sys.argv[1:]
from charlstm.text.corpus import open_corpus
try:
    open_corpus([path], level=level, vocab_size=int(size) or None)
except charlstm.CharlstmError as error:
    print(error, file=sys.stderr)
print(peak() - before)
"""


@pytest.mark.parametrize(
    ("level", "vocab_size", "megabytes"), [("char", 0, 60), ("byte", 0, 60), ("word", 1000, 260)]
)
def test_a_long_line_of_letters_takes_little_memory(tmp_path, level, vocab_size, megabytes):
    path = tmp_path / "line.txt"
    with path.open("w") as file:
        for k in range(100):
            file.write(f"{k:07}abc" * 100_000)  # 100 MB without a space
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, path, level, str(vocab_size)], capture_output=True, text=True
    )
    assert ("distinct words of" in done.stderr) == (level == "word")
    assert float(done.stdout) < megabytes


def test_very_many_characters_are_trained_on_where_the_model_fits(tmp_path):
    path = tmp_path / "all.txt"
    path.write_text("".join(chr(k) for k in range(0x20000) if not 0xD800 <= k < 0xE000), "utf-8")
    small = {
        "batch_size": 1,
        "seq_length": 1,
        "steps": 1,
        "eval_every": 1,
        "val_frac": 0,
        "workers": 1,
    }
    run = charlstm.train(path, tmp_path / "run", hidden=1, newlines="keep", **small)
    assert len(charlstm.load(run.path).vocab) == 129_024
    with pytest.raises(CharlstmError, match="on 129,024 distinct symbols takes at least"):
        charlstm.train(path, tmp_path / "no", hidden=16_384, **small)
    assert not (tmp_path / "no").exists()
