"""Standard input, read in pieces as it comes."""

import errno
import gzip
import io
import lzma
import sys
from types import SimpleNamespace

import pytest

from charlstm import CharlstmError
from charlstm.text.standard_input import read_standard_input

TEXT = "grüße\r\naus köln, 日本語\n" * 3


class Pipe(io.RawIOBase):
    """A pipe that gives one chunk at a time; `given` counts those that were taken."""

    def __init__(self, chunks):
        self._chunks, self.given = list(chunks), 0

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self._chunks:
            return 0
        chunk, self._chunks[0] = self._chunks[0][: len(buffer)], self._chunks[0][len(buffer) :]
        if not self._chunks[0]:
            del self._chunks[0]
            self.given += 1
        buffer[: len(chunk)] = chunk
        return len(chunk)


@pytest.fixture
def feed(monkeypatch):
    """A function that makes chunks of bytes the standard input; returns the pipe."""

    def feed(chunks):
        pipe = Pipe(chunks)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(pipe)))
        return pipe

    return feed


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_text_does_not_depend_on_the_chunks_and_may_be_compressed(feed, pack, size):
    data = pack("\ufeff".encode() + TEXT.encode())
    feed(data[k : k + size] for k in range(0, len(data), size))
    assert "".join(read_standard_input("char", "utf-8")) == TEXT
    assert list(read_standard_input("char", "utf-8")) == []  # it has ended


@pytest.mark.parametrize("data", [b"", b"a", b"\xef\xbb\xbf", b"\x1f", b"\xfd7"])
def test_inputs_shorter_than_the_marks_that_are_looked_for(feed, data):
    feed([data] if data else [])
    text = "".join(read_standard_input("char", "latin-1"))
    assert text == data.decode("latin-1")


def test_a_piece_is_read_as_soon_as_it_has_come(feed):
    pipe = feed([b"one\n", b"tw", b"o\nthree\n"])
    pieces = read_standard_input("char", "utf-8")
    for number, piece in enumerate(["one\n", "tw", "o\nthree\n"], start=1):
        assert next(pieces) == piece and pipe.given == number


def test_bad_input_is_refused_with_its_place(feed, monkeypatch):
    feed([b"abc", b"d\xff"])
    with pytest.raises(CharlstmError, match="standard input: invalid UTF-8 at byte 4"):
        list(read_standard_input("char", "utf-8"))
    feed([gzip.compress(b"abc")[:-5]])
    with pytest.raises(CharlstmError, match="standard input: the compressed data is damaged"):
        list(read_standard_input("char", "utf-8"))

    class Broken(Pipe):
        def readinto(self, buffer):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(Broken([]))))
    with pytest.raises(CharlstmError, match="cannot read standard input: Input/output error"):
        list(read_standard_input("char", "utf-8"))
    feed([b"abc"])
    with pytest.raises(CharlstmError, match="bytes as they are: leave out `encoding="):
        next(read_standard_input("byte", "latin-1"))
