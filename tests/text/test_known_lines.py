"""KnownLines: which lines a text has."""

import numpy as np
import pytest

from charlstm import Vocab
from charlstm.text import known_lines
from charlstm.text.known_lines import KnownLines


@pytest.mark.parametrize("size", [1, 50, 1 << 20])
@pytest.mark.parametrize("vocab", [None, Vocab.bytes()], ids=["char", "byte"])
def test_exactly_the_lines_of_the_text_are_known(monkeypatch, size, vocab):
    monkeypatch.setattr(known_lines, "BLOCK_SYMBOLS", size)
    lines = [f"näme {number}" for number in range(0, 300, 2)] + ["a\tb", "last"]
    text = "\n".join(["", *lines])  # the last line has no line end
    vocab = vocab or Vocab.from_text(text)
    known = KnownLines(vocab.encode(text), vocab)
    assert all(line in known for line in ("", *lines))
    others = [
        "näme",
        "näme 1",
        "äname 2",
        "las",
        "lastl",
        "\t",
        "\t\t",
        "b\ta",
        "日本",
        "日last",
        7,
    ]
    assert not any(line in known for line in others)


def test_words_are_compared_as_words():
    vocab = Vocab.from_words(["the", "cat", "sat"])
    known = KnownLines(vocab.encode("the cat\nthe dog sat\n"), vocab)
    assert "the  cat" in known and "the cat sat" not in known


def test_a_line_needs_8_bytes():
    ids = np.tile(np.array([1, 2, 3, 0], np.uint8), 10_000)
    assert KnownLines(ids, Vocab.from_text("\nabc"))._hashes.nbytes == 8 * 10_001
