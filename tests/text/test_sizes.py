"""Sizes of texts of ids, which are counted in blocks."""

import numpy as np
import pytest

from charlstm import Vocab
from charlstm.text import sizes
from charlstm.text.sizes import count_empty_lines, utf8_size


@pytest.fixture(params=[1, 2, 7, 1_000])
def block(request, monkeypatch):
    monkeypatch.setattr(sizes, "BLOCK_IDS", request.param)


@pytest.mark.usefixtures("block")
def test_bytes_of_a_text():
    text = "grüße, \ud800日本語\U0001f600" * 5
    vocab = Vocab.from_text(text)
    assert utf8_size(vocab, vocab.encode(text)) == len(text.encode("utf-8", "surrogatepass"))
    assert utf8_size(Vocab.bytes(), np.arange(5)) == 5
    assert utf8_size(Vocab.from_words(["a"]), np.arange(2)) is None


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("text", ["", "\n", "a", "a\n", "\na\n\n\nbc\nd\n\n", "\n\n\n", "ab\ncd"])
def test_empty_lines(text):
    ids = np.frombuffer(text.encode(), np.uint8)
    assert count_empty_lines(ids, ord("\n")) == text.removesuffix("\n").split("\n").count("") - (
        text == ""
    )
