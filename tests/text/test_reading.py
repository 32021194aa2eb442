"""Reading of files: which files, decompression, decoding, byte-order marks and failures."""

import gzip
import io
import lzma
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from corpus_files import SENTENCE, entries, text_of

from charlstm.errors import CharlstmError
from charlstm.text import decompression
from charlstm.text.corpus import open_corpus
from charlstm.text.vocab import Vocab

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 100])
def test_one_byte_order_mark_is_dropped_at_the_start_of_each_file(write, chunk_bytes):
    paths = [write("a", "\ufeff\ufeffab"), write("b", "\ufeffc\ufeff")]
    assert text_of(open_corpus(paths, chunk_bytes=chunk_bytes)) == "\ufeffabc\ufeff"
    corpus = open_corpus(paths, level="byte", chunk_bytes=chunk_bytes)
    assert text_of(corpus) == "\ufeffabc\ufeff"
    signed = open_corpus(paths, encoding="utf-8-sig", chunk_bytes=chunk_bytes)
    assert text_of(signed) == "\ufeffabc\ufeff"


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
def test_the_byte_order_mark_of_other_encodings_is_dropped(write, encoding):
    mark = "" if encoding in ("utf-16", "utf-32") else "\ufeff"
    path = write("a", (mark + SENTENCE).encode(encoding))
    assert text_of(open_corpus([path], encoding=encoding)) == SENTENCE


def test_a_file_of_only_a_byte_order_mark_is_empty(write):
    corpus = open_corpus([write("a", "\ufeff"), write("b", "xy")])
    assert text_of(corpus) == "xy"


def test_a_folder_is_read_in_the_order_of_its_paths(write, tmp_path):
    for name in ("b.txt", "a/z.txt", "a.txt", "c/d/e.txt", "A.txt"):
        write(f"texts/{name}", f"<{name}>")
    write("texts/.hidden.txt", "no")
    write("texts/.git/a.txt", "no")
    write("elsewhere/a.txt", "no")
    write("linked.txt", "<linked>")
    folder = tmp_path / "texts"
    (folder / "link-to-folder").symlink_to(tmp_path / "elsewhere")
    (folder / "broken").symlink_to(tmp_path / "gone")
    (folder / "z-link.txt").symlink_to(tmp_path / "linked.txt")
    os.mkfifo(folder / "pipe")
    corpus = open_corpus([folder])
    assert text_of(corpus) == "<A.txt><a.txt><a/z.txt><b.txt><c/d/e.txt><linked>"
    assert corpus.paths[2] == str(folder / "a" / "z.txt")


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
@pytest.mark.parametrize("chunk_bytes", [7, 1 << 20])
def test_compressed_files_are_decompressed(write, pack, chunk_bytes):
    text = SENTENCE * 50
    path = write("a", pack(text.encode()))
    assert text_of(open_corpus([path], chunk_bytes=chunk_bytes)) == text
    assert text_of(open_corpus([path], level="byte", chunk_bytes=chunk_bytes)) == text


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
@pytest.mark.parametrize("level", ["char", "byte"])
def test_damaged_compressed_files_are_refused(write, pack, level):
    whole = pack(np.random.default_rng(0).integers(32, 127, 5000, np.uint8).tobytes())
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for damaged in (whole[:-500], whole[:14], bytes(flipped), whole[:-1]):
        path = write("bad.packed", damaged)
        with pytest.raises(
            CharlstmError, match=r"bad\.packed: the compressed data is damaged or incomplete"
        ) as caught:
            open_corpus([path], level=level)
        assert "\n" not in str(caught.value)


def test_an_xz_file_may_have_several_streams_with_zeros_between():
    packed = lzma.compress(b"ab" * 500) + bytes(8) + lzma.compress(b"cd" * 500) + bytes(4)
    for size in (1, 3, 7, 1 << 20):
        stream, unpacked = decompression.XzStream(io.BytesIO(packed)), b""
        while piece := stream.read(size):
            assert len(piece) <= size
            unpacked += piece
        assert unpacked == b"ab" * 500 + b"cd" * 500


def test_an_xz_file_that_needs_much_memory_is_refused(write, monkeypatch):
    packed = lzma.compress(SENTENCE.encode() * 9, preset=9)  # needs 65 MB, however short
    path = write("a.xz", packed)
    assert text_of(open_corpus([path])) == SENTENCE * 9
    monkeypatch.setattr(decompression, "XZ_MEMORY_BYTES", 1 << 25)
    with pytest.raises(CharlstmError, match=r"b\.xz: .*\(Memory usage limit exceeded\)"):
        open_corpus([write("b.xz", packed)], cache=path.parent / "other")


def test_xz_is_refused_where_python_has_no_lzma(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "lzma", None)
    with pytest.raises(CharlstmError, match=r"a\.xz: this Python cannot read xz"):
        open_corpus([write("a.xz", lzma.compress(b"abc"))])


@pytest.mark.parametrize("chunk_bytes", [1, 3, 5, 1000])
@pytest.mark.parametrize(
    ("data", "offset", "byte"),
    [
        (b"caf\xe9 au lait", 3, "e9"),
        (b"ab\xe2\x82", 2, "e2"),
        ("é€😀".encode() + b"\xff", 9, "ff"),
        (b"\xef\xbb\xbfab\x80", 5, "80"),
        (b"abc\xed\xa0\x80", 3, "ed"),
        (gzip.compress(b"x" * 2000 + b"\xc0", mtime=0), 2000, "c0"),
    ],
)
def test_invalid_utf8_is_located(write, data, offset, byte, chunk_bytes):
    path = write("bad.txt", data)
    with pytest.raises(CharlstmError) as caught:
        open_corpus([write("good.txt", "abc"), path], chunk_bytes=chunk_bytes)
    message = str(caught.value)
    assert f"{path}: invalid UTF-8 at byte {offset} (0x{byte}, " in message
    assert "encoding" in message and message.endswith('with `level="byte"`')
    with pytest.raises(CharlstmError) as caught:  # The vocabulary decides on the level.
        open_corpus([path], base_vocab=Vocab.from_text("abc"))
    assert "level" not in str(caught.value)
    assert "\n" not in message
    assert open_corpus([path], level="byte").length > 0


def test_bytes_invalid_in_other_encodings_are_located(write):
    path = write("bad.txt", b"ab\x81\xff")
    with pytest.raises(CharlstmError, match=r"invalid shift_jis at byte 2 \(0x81"):
        open_corpus([path], encoding="sjis")
    with pytest.raises(CharlstmError, match=r"bad\.txt: .*BOM: name another encoding with"):
        open_corpus([path], encoding="utf-16")


@pytest.mark.parametrize("encoding", ["klingon", "hex", "zlib", "rot13", "undefined", "a\0b", ""])
def test_an_unknown_encoding_is_refused(write, encoding):
    with pytest.raises(CharlstmError, match="is not a text encoding that Python knows"):
        open_corpus([write("a", "abc")], encoding=encoding)


def test_paths_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "folder" / ".hidden").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CharlstmError, match=r"cannot read .*gone\.txt: No such file"):
        open_corpus([tmp_path / "gone.txt"])
    with pytest.raises(CharlstmError, match="folder: this folder has no files"):
        open_corpus([tmp_path / "folder"])
    with pytest.raises(CharlstmError, match="pipe is neither a file nor a folder"):
        open_corpus([tmp_path / "pipe"])
    with pytest.raises(CharlstmError, match=r"the name of a text has a NUL .*'a\\x00b'"):
        open_corpus(["a\0b"])
    with pytest.raises(CharlstmError, match="the name of a text is empty"):
        open_corpus([""])
    with pytest.raises(CharlstmError, match="no text to learn from"):
        open_corpus([])


@pytest.fixture
def without_root():
    """The test runs as the user nobody if it is run by root, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_files_without_permission_are_refused(without_root):
    with TemporaryDirectory() as name:  # pytest's own folder admits no other user
        folder = Path(name) / "texts"
        folder.mkdir()
        path = folder / "a.txt"
        path.write_text("abc", encoding="utf-8")
        path.chmod(0)
        with pytest.raises(CharlstmError, match=r"cannot read .*a\.txt: Permission denied"):
            open_corpus([path], cache=Path(name) / "cache")
        folder.chmod(0)
        with pytest.raises(CharlstmError, match=r"cannot read .*texts.*: Permission denied"):
            open_corpus([folder], cache=Path(name) / "cache")
        folder.chmod(0o700)


def test_a_file_that_fails_while_it_is_read_is_refused(write, monkeypatch):
    path = write("a.txt", "abc")
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(OSError(5, "I/O error")))
    with pytest.raises(CharlstmError, match=r"cannot read .*a\.txt: I/O error"):
        open_corpus([path])


def grow(path):
    with path.open("ab") as file:
        file.write(b"more")


def replace(path):
    """Put another file of the same size and time in its place."""
    status, other = path.stat(), path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


CHANGES = {"grows": grow, "shrinks": lambda path: os.truncate(path, 9), "is replaced": replace}


@pytest.mark.parametrize("stage", ["hashing", "scanning", "encoding"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changes_while_it_is_read_is_refused(write, cache, change, pack, stage):
    text = np.random.default_rng(0).integers(32, 127, 2_000, np.uint8).tobytes()
    path, changed = write("a.txt", pack(text)), []
    first = write("1.txt", "abcabc")

    def change_once(done, total, now):
        if now == stage and not changed:
            changed.append(change(path))

    with pytest.raises(CharlstmError, match=r"a\.txt changed while it was read: start again$"):
        open_corpus([first, path], progress=change_once, chunk_bytes=100)
    assert changed and entries(cache) == []
