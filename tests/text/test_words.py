"""Words: splitting, joining, the word-level vocabulary, and its corpus."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlstm import CharlstmError, Vocab
from charlstm.text.corpus import open_corpus
from charlstm.text.words import UNKNOWN_WORD, split_chunks, split_words

TEXT = "'Tis o'er, my lord: well-met!\nAre you (all) here?\n"


def test_words_marks_and_line_ends():
    first = ["'Tis", "o'er", ",", "my", "lord", ":", "well-met", "!", "\n"]
    second = ["Are", "you", "(", "all", ")", "here", "?", "\n"]
    assert split_words(TEXT) == first + second


def test_words_are_written_out_as_they_were():
    vocab = Vocab.from_words(split_words(TEXT))
    assert vocab.decode(vocab.encode(TEXT)) == TEXT


@given(st.text(alphabet="ab '-.\n\t", max_size=60), st.integers(1, 7))
def test_pieces_do_not_matter(text, size):
    pieces = [text[k : k + size] for k in range(0, len(text), size)]
    assert [word for words in split_chunks(pieces) for word in words] == split_words(text)


def test_unknown_words_have_one_id():
    vocab = Vocab.from_words(["a", "b"])
    assert vocab.symbols == ("\n", "a", "b", UNKNOWN_WORD)
    assert vocab.encode("b zebra a\nyak").tolist() == [2, 3, 1, 0, 3]
    assert vocab.decode([1, 3]) == f"a {UNKNOWN_WORD}"
    assert Vocab.from_dict(vocab.to_dict()) == vocab
    assert vocab.unit == "word"


@pytest.mark.parametrize(
    "symbols", [["a", "b"], ["\n", "b", "a", UNKNOWN_WORD], ["\n", "", UNKNOWN_WORD], ["\n", 3]]
)
def test_hostile_vocabularies_are_refused(symbols):
    with pytest.raises(CharlstmError, match="vocabulary"):
        Vocab.from_dict({"level": "word", "symbols": symbols})


def test_the_most_frequent_words_make_the_vocabulary(tmp_path, monkeypatch):
    monkeypatch.setenv("CHARLSTM_CACHE", str(tmp_path / "cache"))
    text = "the cat and the dog and the bird\nthe end\n" * 3
    file = tmp_path / "text"
    file.write_text(text, encoding="utf-8")
    # a tiny chunk splits words over pieces
    corpus = open_corpus([file], level="word", vocab_size=5, chunk_bytes=5)
    assert Counter(split_words(text)).most_common(3) == [("the", 12), ("and", 6), ("\n", 6)]
    assert corpus.vocab.symbols == ("\n", "and", "bird", "the", UNKNOWN_WORD)
    assert corpus.ids.tolist() == corpus.vocab.encode(text).tolist()
    every = open_corpus([file], level="word")
    assert set(every.vocab.symbols) == {*split_words(text), UNKNOWN_WORD}
    assert every.vocab.decode(every.ids) == text
    with pytest.raises(CharlstmError, match="--vocab-size"):
        open_corpus([file], vocab_size=5)
