"""Words: splitting, joining, the word-level vocabulary, and its corpus."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlstm import CharlstmError, Vocab
from charlstm.text import corpus, scanning
from charlstm.text.corpus import open_corpus
from charlstm.text.words import LINE_END, UNKNOWN_WORD, WordCounts, split_chunks, split_words

pytestmark = pytest.mark.usefixtures("cache")

TEXT = "'Tis o'er, my lord: well-met!\nAre you (all) here?\n"


def test_a_text_is_split_into_words_marks_and_line_ends():
    first = ["'Tis", "o'er", ",", "my", "lord", ":", "well-met", "!", "\n"]
    second = ["Are", "you", "(", "all", ")", "here", "?", "\n"]
    assert split_words(TEXT) == first + second


def test_words_are_joined_to_the_same_text():
    vocab = Vocab.from_words(split_words(TEXT))
    assert vocab.decode(vocab.encode(TEXT)) == TEXT


@given(st.text(alphabet="ab '-.\n\t", max_size=60), st.integers(1, 7))
def test_words_are_the_same_in_any_chunks(text, size):
    chunks = [text[k : k + size] for k in range(0, len(text), size)]
    assert [word for words in split_chunks(chunks) for word in words] == split_words(text)


def test_all_unknown_words_share_an_id():
    vocab = Vocab.from_words(["a", "b"])
    assert vocab.symbols == ("\n", "a", "b", UNKNOWN_WORD)
    assert vocab.encode("b zebra a\nyak").tolist() == [2, 3, 1, 0, 3]
    assert vocab.decode([1, 3]) == f"a {UNKNOWN_WORD}"
    assert Vocab.from_dict(vocab.to_dict()) == vocab
    assert vocab.unit == "word"


@pytest.mark.parametrize(
    "symbols", [["a", "b"], ["\n", "b", "a", UNKNOWN_WORD], ["\n", "", UNKNOWN_WORD], ["\n", 3]]
)
def test_malformed_vocabularies_are_refused(symbols):
    with pytest.raises(CharlstmError, match="vocabulary"):
        Vocab.from_dict({"level": "word", "symbols": symbols})


def test_the_most_frequent_words_make_the_vocabulary(write):
    text = "the cat and the dog and the bird\nthe end\n" * 3
    file = write("text", text)
    # chunks this small split words
    frequent = open_corpus([file], level="word", vocab_size=5, chunk_bytes=5)
    assert Counter(split_words(text)).most_common(3) == [("the", 12), ("and", 6), ("\n", 6)]
    assert frequent.vocab.symbols == ("\n", "and", "bird", "the", UNKNOWN_WORD)
    assert frequent.ids.tolist() == frequent.vocab.encode(text).tolist()
    every = open_corpus([file], level="word")
    assert set(every.vocab.symbols) == {*split_words(text), UNKNOWN_WORD}
    assert every.vocab.decode(every.ids) == text
    with pytest.raises(CharlstmError, match="`vocab_size`"):
        open_corpus([file], vocab_size=5)


def test_counts_of_few_words_are_exact():
    counts = WordCounts(max_words=4)
    for _ in range(3):
        counts.add(["b", "a", "b", "é"])
    counts.finish()
    assert counts.counts == {"b": 6, "a": 3, "é": 3} and counts.forgotten == 0
    assert counts.most_frequent(None) == ["b", "a", "é"] and counts.most_frequent(1) == ["b"]
    assert counts.bytes == 6 + 3 + 6


def test_the_rarest_of_too_many_words_are_forgotten():
    counts = WordCounts(max_words=100)
    for k in range(1000):
        counts.add(["often", f"rare{k}"])
        assert len(counts.counts) <= 101
    counts.finish()
    assert counts.counts["often"] == 1000 and counts.most_frequent(1) == ["often"]
    assert counts.bytes == 5 * 1000 + sum(len(f"rare{k}") for k in range(1000))


def test_long_words_are_forgotten_before_they_fill_memory():
    counts = WordCounts(max_characters=10_000)
    for k in range(100):
        counts.add([f"{k:0500}", "a"])
        assert sum(map(len, counts.counts)) <= 10_500
    assert counts.counts["a"] == 100


def test_more_words_than_a_vocabulary_may_have_need_vocab_size(write, monkeypatch):
    for module in (corpus, scanning):
        monkeypatch.setattr(module, "MAX_SYMBOLS", 50)
    path = write("words.txt", "often " * 9 + " ".join(f"w{k}" for k in range(100)))
    with pytest.raises(CharlstmError, match=r"more distinct words .* \(50\): .* `vocab_size`"):
        open_corpus([path], level="word")
    vocab = open_corpus([path], level="word", vocab_size=4).vocab
    assert vocab == Vocab.from_words(["often", "w0"])
    with pytest.raises(CharlstmError, match="`vocab_size` takes a number from 3 to 50"):
        open_corpus([path], level="word", vocab_size=51)
    monkeypatch.setattr(scanning, "MAX_CHARACTERS_OF_WORDS", 6)
    with pytest.raises(
        CharlstmError,
        match="the distinct words have 9 characters in total, but a vocabulary may have at most 6",
    ):
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


@pytest.mark.slow
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
    assert ("the distinct words have" in done.stderr) == (level == "word")
    assert float(done.stdout) < megabytes


def test_a_word_that_is_too_long_is_refused_with_its_file(write, monkeypatch):
    monkeypatch.setattr(scanning, "MAX_WORD_CHARACTERS", 5)
    files = [write("a", "short words\n"), write("b", "a b c longer\n")]
    with pytest.raises(
        CharlstmError, match=f'^{files[1]}: a word has 6 .* at most 5: .*`level="char"`'
    ):
        open_corpus(files, level="word")
