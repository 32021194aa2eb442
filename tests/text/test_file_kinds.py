"""Files that are no plain text are refused by their first bytes, with advice; HTML is accepted."""

import gzip
import io
import sqlite3
import sys
import tarfile
import zipfile
from types import SimpleNamespace

import pytest
from corpus_files import SENTENCE, entries, text_of

from charlstm.errors import CharlstmError
from charlstm.text.corpus import open_corpus
from charlstm.text.reading import TextFiles
from charlstm.text.standard_input import read_standard_input

pytestmark = pytest.mark.usefixtures("cache")


def zipped(*members):
    """Return a zip file with members of these names and contents."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            stored = zipfile.ZIP_STORED if name == "mimetype" else None
            archive.writestr(name, content, stored)
    return file.getvalue()


def tarred(content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def office(folder):
    names = ("[Content_Types].xml", "_rels/.rels", f"{folder}/main.xml")
    return zipped(*((name, f"<xml>{name}</xml>") for name in names))


EPUB = zipped(("mimetype", "application/epub+zip"), ("a.xhtml", SENTENCE))
ODT = zipped(("mimetype", "application/vnd.oasis.opendocument.text"))
PANDOC = "pandoc -t plain FILE -o FILE.txt"
KINDS = {
    "a Word document": (office("word"), PANDOC),
    "an Excel table": (office("xl"), "export it as CSV"),
    "a PowerPoint presentation": (office("ppt"), "save it as plain text"),
    "an EPUB book": (EPUB, PANDOC),
    "a zip archive": (zipped(("a.txt", SENTENCE)), "unpack it"),
    "a tar archive": (tarred(b"hello"), "unpack it"),
    "a PDF document": (b"%PDF-1.7\n%abc", "pdftotext FILE"),
    "an RTF document": (rb"{\rtf1\ansi Hello}", PANDOC),
    "an old Office document, such as .doc": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0",
        "in UTF-8",
    ),
    "a PNG picture": (b"\x89PNG\r\n\x1a\n\0\0", "tesseract"),
    "a JPEG picture": (b"\xff\xd8\xff\xe0\0\x10JFIF", "tesseract"),
    "a GIF picture": (b"GIF89a\x01\0\x01\0", "tesseract"),
    "a WebP picture": (b"RIFF\x24\0\0\0WEBPVP8 ", "tesseract"),
    "a TIFF picture": (b"II*\0\x08\0\0\0", "tesseract"),
    "a sound file": (b"ID3\4\0\0\0\0", "leave it out"),
    "a program": (b"\x7fELF\2\1\1\0", "leave it out"),
    "a Parquet file": (b"PAR1\x15\4\x15", "export its texts"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", ["char", "word"])
def test_a_file_that_is_no_plain_text_is_refused_with_advice(write, cache, kind, level):
    data, advice = KINDS[kind]
    for content in (data, gzip.compress(data)):
        path = write("report.x", content)
        with pytest.raises(CharlstmError) as caught:
            open_corpus([path], level=level, encoding="latin-1")
        message = str(caught.value)
        assert message.startswith(f"{path} is {kind}, not plain text: ") and advice in message
        assert "\n" not in message and "folder" not in message.replace("their folder", "")
    assert entries(cache) == []
    assert open_corpus([write("b.x", data)], level="byte").ids.tobytes() == data


def test_other_kinds_made_by_their_own_programs(write, tmp_path):
    database = tmp_path / "a.db"
    with sqlite3.connect(database) as connection:
        connection.execute("create table t (x)")
    connection.close()
    with pytest.raises(CharlstmError, match=r"a\.db is an SQLite database, not plain text: export"):
        open_corpus([database])
    with pytest.raises(CharlstmError, match="is a program, not plain text"):
        open_corpus([sys.executable])
    with pytest.raises(CharlstmError, match=r"is an OpenDocument text, not plain text: .*pandoc"):
        open_corpus([write("a.odt", ODT)])


@pytest.mark.parametrize(
    "text",
    [
        "PDF files begin with %PDF-1.7\n",
        "MZ is how a program of DOS begins\n",
        "GIF89a, a format of pictures\n",
        "II*, BM, RIFF, ID3 and PK are marks\n",
        "BMW and ustar \n" * 50,
        "\\documentclass{article} {\\rtf}\n",
        "\ufeffPK\n",
    ],
)
def test_texts_that_begin_with_such_letters_are_read(write, text):
    assert text_of(open_corpus([write("a.txt", text)])) == text.removeprefix("\ufeff")


def test_a_file_in_a_folder_is_named_with_a_way_to_leave_it_out(write, tmp_path):
    write("code/a.py", SENTENCE)
    picture = write("code/img/logo.png", KINDS["a PNG picture"][0])
    with pytest.raises(CharlstmError) as caught:
        open_corpus([tmp_path / "code"])
    message = str(caught.value)
    assert message.startswith(f"{picture} is a PNG picture, not plain text: leave it out")
    assert message.endswith(f"name the files to read, such as {tmp_path / 'code' / 'img'}/*.txt")


HTML = "<!DOCTYPE html>\n<html><body>Hello</body></html>\n"


@pytest.mark.parametrize(
    "text",
    [
        HTML,
        f"\ufeff\r\n {HTML.lower()}",
        HTML.split("\n", 1)[1],
        f"<!-- saved -->\n{HTML}",
        f'<?xml version="1.0"?>\n{HTML}',
    ],
)
def test_html_is_read_and_known_as_html(write, text):
    page, plain = write("a.html", text), write("a.txt", "see <html>")
    corpus = open_corpus([page, plain])
    assert text_of(corpus) == text.removeprefix("\ufeff") + "see <html>"
    assert corpus.html_files == (str(page),)
    assert TextFiles.find([page], level="byte").check_kinds([page]) == ()
    assert open_corpus([page], expected=(corpus_size(page), digest_of(page))).html_files == ()


def corpus_size(path):
    return path.stat().st_size


def digest_of(path):
    return open_corpus([path]).digest


def test_the_text_of_a_saved_run_is_read_again_whatever_its_kind(write):
    path = write("a.pdf", b"%PDF-1.7 was accepted by an older version")
    texts = TextFiles.find([path])
    assert open_corpus([path], expected=(texts.total_bytes, texts.digest())).length == 41


def test_standard_input_that_is_no_plain_text_is_refused(monkeypatch):
    def feed(data):
        monkeypatch.setattr(
            sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(data)))
        )

    for pack in (bytes, gzip.compress):
        feed(pack(KINDS["a tar archive"][0]))
        with pytest.raises(CharlstmError, match=r"^standard input is a tar archive, not plain"):
            list(read_standard_input("char", "utf-8"))
    feed(b"%PDF-1.7\n")
    assert list(read_standard_input("byte", "utf-8")) == ["%PDF-1.7\n"]
