"""Kinds of files that are no plain text, such as Word documents, by the first bytes of a file."""

import re
from pathlib import Path

from charlstm.errors import CharlstmError

START_BYTES = 4096  # number of the first bytes of a file that show its kind

_WITH_PANDOC = "save it as plain text, for example with: pandoc -t plain FILE -o FILE.txt"
_CONVERT = "save it as plain text with the program that made it, in UTF-8"
_TABLE = "export it as CSV, or as plain text in UTF-8"
_EBOOK = "save it as plain text, for example with Calibre: ebook-convert FILE FILE.txt"
_UNPACK = "unpack it, and name the files in it or their folder"
_UNZIP = "decompress it first; only gzip and xz are decompressed while they are read"
_NO_TEXT = "leave it out"
_PICTURE = "leave it out; a program such as tesseract can read a text in a picture"

# Kinds of zip files, by a text in their first bytes: the names of members, or a type.
_ZIP_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"application/epub+zip", "an EPUB book", _WITH_PANDOC),
    (b"opendocument.text", "an OpenDocument text", _WITH_PANDOC),
    (b"opendocument.", "an OpenDocument file", _TABLE),
    (b"word/", "a Word document", _WITH_PANDOC),
    (b"xl/", "an Excel table", _TABLE),
    (b"ppt/", "a PowerPoint presentation", _CONVERT),
    (b"[Content_Types].xml", "an Office document", _CONVERT),
    (b"", "a zip archive", _UNPACK),
)
# Kinds of other files: a pattern of their first bytes, a name, and advice. If a text
# could begin with the same letters, the pattern also has a control character, which no text has.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (rb"%PDF-\d", "a PDF document", "extract its text, for example with: pdftotext FILE"),
    (rb"\{\\rtf", "an RTF document", _WITH_PANDOC),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document, such as .doc", _CONVERT),
    (rb".{60}(BOOKMOBI|TEXtREAd)", "a Mobipocket book", _EBOOK),
    (rb"\x89PNG\r\n", "a PNG picture", _PICTURE),
    (rb"\xff\xd8\xff", "a JPEG picture", _PICTURE),
    (rb"GIF8[79]a.{0,12}\0", "a GIF picture", _PICTURE),
    (rb"II\*\0|MM\0\*", "a TIFF picture", _PICTURE),
    (rb"BM.{4}\0\0\0\0", "a BMP picture", _PICTURE),
    (rb"RIFF.{4}WEBP", "a WebP picture", _PICTURE),
    (rb"RIFF.{4}(WAVE|AVI )", "a sound or video file", _NO_TEXT),
    (rb"ID3[\2-\4]|\xff[\xf2\xf3\xfa\xfb]|OggS\0|fLaC\0", "a sound file", _NO_TEXT),
    (rb"\0\0.{2}ftyp|\x1aE\xdf\xa3", "a video or sound file", _NO_TEXT),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (rb".{257}ustar[\0 ]", "a tar archive", _UNPACK),
    (rb"BZh[1-9]1AY&SY", "a bzip2 file", _UNZIP),
    (rb"\x28\xb5\x2f\xfd", "a zstd file", _UNZIP),
    (rb"SQLite format 3\0", "an SQLite database", "export its texts as plain text in UTF-8"),
    (rb"PAR1[\x0c-\x1f]", "a Parquet file", "export its texts as plain text in UTF-8"),
    (rb"\x7fELF|MZ.{0,58}\0\0|[\xce\xcf]\xfa\xed\xfe", "a program", _NO_TEXT),
)
# An HTML page may begin with an XML declaration and a comment.
_HTML = rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--[^>]*>\s*)?<(!doctype\s+html|html)\b"


def refuse_other_kinds(path: Path, start: bytes) -> None:
    """Raise CharlstmError if a file is of a known kind that is no plain text.

    HTML is plain text: it is accepted.

    start: the first START_BYTES bytes of the file, decompressed; fewer if the file is shorter.
    """
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        found = next(kind for mark, *kind in _ZIP_KINDS if mark in start)
    else:
        matching = (kind for pattern, *kind in _KINDS if re.match(pattern, start, re.DOTALL))
        found = next(matching, [])
    if found:
        raise CharlstmError(f"{path} is {found[0]}, not plain text: {found[1]}")


def is_html(start: bytes) -> bool:
    """Return whether a file with these first bytes is an HTML page."""
    return re.match(_HTML, start, re.IGNORECASE) is not None
