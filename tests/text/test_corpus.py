"""Corpora: text files as ids, their vocabulary, sizes and digest."""

import gzip
import hashlib
import io

import numpy as np
import pytest
from corpus_files import SENTENCE, entries, text_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlstm.errors import CharlstmError
from charlstm.text.corpus import open_corpus
from charlstm.text.standard_input import copy_stream
from charlstm.text.vocab import Vocab

# One folder serves all examples: each has files and cache entries of its own content.
many = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


pytestmark = pytest.mark.usefixtures("cache")


def test_a_text_becomes_ids(write):
    path = write("a.txt", SENTENCE)
    corpus = open_corpus([path])
    assert text_of(corpus) == SENTENCE
    assert corpus.vocab == Vocab.from_text(SENTENCE)
    assert corpus.length == corpus.train_length == len(SENTENCE)
    assert corpus.bytes == len(SENTENCE.encode())
    assert corpus.paths == (str(path),)
    assert corpus.ids.dtype == np.uint8 and corpus.ids.ndim == 1
    assert not corpus.ids.flags.writeable
    assert type(corpus.ids) is np.ndarray and isinstance(corpus.ids.base, np.memmap)


@pytest.mark.parametrize(("size", "dtype"), [(256, np.uint8), (257, np.uint16)])
def test_ids_have_the_smallest_type(write, size, dtype):
    text = "".join(map(chr, range(size)))
    corpus = open_corpus([write("a.txt", text)])
    assert corpus.ids.dtype == dtype
    assert text_of(corpus) == text


def test_more_symbols_than_sixteen_bits_hold(write):
    text = "".join(map(chr, range(0x10000, 0x20001)))
    corpus = open_corpus([write("a.txt", text)])
    assert corpus.ids.dtype == np.uint32
    assert corpus.ids[-1] == 0x10000
    assert text_of(corpus) == text


@many
@given(
    text=st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\0\r\n\ufeffaé€😀"))),
    chunk_bytes=st.integers(1, 9),
    newlines=st.sampled_from(["keep", "lf"]),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-be", "utf-32", "gb18030"]),
)
def test_any_text_in_any_chunks(tmp_path, text, chunk_bytes, newlines, encoding):
    # With two characters before it, it is enough to learn from and has no byte-order mark.
    text = "ab" + text
    path = tmp_path / "any.txt"
    path.write_bytes(text.encode(encoding))
    corpus = open_corpus([path], encoding=encoding, newlines=newlines, chunk_bytes=chunk_bytes)
    if newlines == "lf":
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    assert text_of(corpus) == text
    assert corpus.vocab == Vocab.from_text(text)
    assert corpus.bytes == len(text.encode())


@many
@given(
    data=st.binary(min_size=2).filter(lambda data: not data.startswith(b"\xef\xbb\xbf")),
    chunk_bytes=st.integers(1, 5),
    newlines=st.sampled_from(["keep", "lf"]),
)
def test_any_bytes_in_any_chunks(tmp_path, data, chunk_bytes, newlines):
    path = tmp_path / "any.bin"
    path.write_bytes(b"ab" + data)
    corpus = open_corpus([path], level="byte", newlines=newlines, chunk_bytes=chunk_bytes)
    expected = b"ab" + data
    if newlines == "lf":
        expected = expected.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert corpus.ids.tobytes() == expected
    assert corpus.vocab == Vocab.bytes()
    assert corpus.bytes == corpus.length == len(expected)


def test_files_are_joined_in_the_order_given(write):
    paths = [write("b", "b1"), write("a", "a2"), write("c", "\r"), write("d", "\n")]
    assert text_of(open_corpus(paths)) == "b1a2\r\n"
    assert text_of(open_corpus(paths, newlines="lf")) == "b1a2\n\n"
    assert open_corpus(paths).paths == tuple(map(str, paths))


@pytest.mark.parametrize("level", ["char", "word"])
@pytest.mark.parametrize("chunk_bytes", [1, 2, 100])
def test_line_ends_that_are_read_as_others_are_counted(write, level, chunk_bytes):
    path = write("a", "one\r\ntwo\rthree\nfour\r\n")
    for _ in range(2):  # The second time, the ids come from the cache.
        corpus = open_corpus([path], level=level, newlines="lf", chunk_bytes=chunk_bytes)
        assert corpus.changed_line_ends == 3
    assert open_corpus([path], level=level).changed_line_ends == 0


def test_validation_files_come_last_and_are_in_the_vocabulary(write):
    train, validation = write("t", "abcab"), write("v", "zé")
    corpus = open_corpus([train], validation_paths=[validation])
    assert text_of(corpus) == "abcabzé"
    assert corpus.train_length == 5 and corpus.length == 7
    assert corpus.vocab.characters == "abczé"
    assert corpus.paths == (str(train), str(validation))
    assert corpus.digest != open_corpus([train, validation]).digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "line"}, "`level` must be one of char, byte, word, not 'line'"),
        ({"newlines": "crlf"}, "`newlines` must be one of keep, lf, not 'crlf'"),
        ({"level": "byte", "encoding": "latin-1"}, '`level="byte"` reads bytes as they are'),
        (
            {"base_vocab": Vocab.bytes()},
            'byte, the text of level char: use `level="byte"`',
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(write, options, message):
    with pytest.raises(CharlstmError, match=message):
        open_corpus([write("a", "abc")], **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a\.txt: too small to learn from: 0 characters, at least 2"),
        ("x", r"a\.txt: too small to learn from: 1 characters, at least 2"),
        ("\ufeffx", r"a\.txt: too small to learn from: 1 characters"),
        ("xxxx", r"a\.txt: too small to learn from: 'x' is its only character"),
    ],
)
def test_a_text_that_is_too_small_is_refused(write, cache, content, message):
    with pytest.raises(CharlstmError, match=message):
        open_corpus([write("a.txt", content)])
    assert entries(cache) == []


def test_too_small_a_training_or_validation_text_is_refused(write):
    empty, good = write("empty", ""), write("good", "abc def")
    with pytest.raises(CharlstmError, match="empty and 1 more: too small to learn from: 0"):
        open_corpus([empty, empty], validation_paths=[good])
    with pytest.raises(CharlstmError, match="empty: too small for validation: 0"):
        open_corpus([good], validation_paths=[empty])
    with pytest.raises(CharlstmError, match="empty: too small to learn from: 0 bytes, at least 2"):
        open_corpus([empty], level="byte")
    for content, words in (("", 0), ("  ", 0), ("word ", 1)):
        small = write("small", content)
        with pytest.raises(CharlstmError, match=f"small: too small for validation: {words} words"):
            open_corpus([good], validation_paths=[small], level="word")


def test_extra_symbols_keep_their_place_in_the_order(write):
    path = write("a", "bdb")
    corpus = open_corpus([path], base_vocab=Vocab.from_text("ac\U0001f600"))
    assert corpus.vocab.characters == "abcd\U0001f600"
    assert corpus.ids.tolist() == [1, 3, 1]
    plain = open_corpus([path])
    assert plain.ids.tolist() == [0, 1, 0]
    assert plain.digest == corpus.digest
    assert open_corpus([path], level="byte", base_vocab=Vocab.bytes()).ids.tobytes() == b"bdb"
    one_character = open_corpus([write("b", "bb")], base_vocab=Vocab.from_text("ac"))
    assert one_character.vocab.characters == "abc"
    assert one_character.ids.tolist() == [1, 1]


def test_standard_input_is_copied_to_a_file(tmp_path):
    path = tmp_path / "stdin.txt"
    copy_stream(io.BytesIO(SENTENCE.encode()), path)
    assert path.read_bytes() == SENTENCE.encode()
    assert text_of(open_corpus([path])) == SENTENCE
    with pytest.raises(CharlstmError, match=r"cannot write .*gone"):
        copy_stream(io.BytesIO(b"x"), tmp_path / "gone" / "x")

    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(5, "I/O error")

    with pytest.raises(CharlstmError, match="I/O error"):
        copy_stream(Broken(), path)
    assert path.read_bytes() == SENTENCE.encode()


def test_progress_is_reported_in_each_pass(write):
    paths = [write("a", SENTENCE), write("b", gzip.compress(SENTENCE.encode() * 9))]
    total = sum(path.stat().st_size for path in paths)
    calls = []
    open_corpus(paths, progress=lambda *call: calls.append(call), chunk_bytes=16)
    assert list(dict.fromkeys(stage for _, _, stage in calls)) == [
        "hashing",
        "scanning",
        "encoding",
    ]
    for stage in ("hashing", "scanning", "encoding"):
        done = [call[0] for call in calls if call[2] == stage]
        assert done == sorted(done) and done[-1] == total
    assert {call[1] for call in calls} == {total}
    calls.clear()
    open_corpus(paths, progress=lambda *call: calls.append(call))
    assert {stage for _, _, stage in calls} == {"hashing"}


def test_the_digest_depends_on_content_order_roles_and_options(write):
    one, two, both, ab_c = write("1", "ab"), write("2", "cd"), write("3", "abcd"), write("4", "abc")
    digests = [
        open_corpus([one, two]).digest,
        open_corpus([two, one]).digest,
        open_corpus([both]).digest,
        open_corpus([ab_c, write("5", "d")]).digest,
        open_corpus([one], validation_paths=[two]).digest,
        open_corpus([one, two], level="byte").digest,
        open_corpus([one, two], newlines="lf").digest,
        open_corpus([one, two], encoding="latin-1").digest,
    ]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)
    assert open_corpus([one, two], encoding="UTF8").digest == digests[0]


def test_the_digest_stays_the_same_between_versions(write):
    # --resume compares it with the digest of the run, which may have begun long ago.
    file = hashlib.sha256(b"ab").digest()
    expected = hashlib.sha256(b'["char", "utf-8", "keep"]' + b"T" + file + b"V" + file).hexdigest()
    path = write("a", "ab")
    assert open_corpus([path], validation_paths=[path]).digest == expected
