"""Encodings: decoding bytes one chunk at a time, with errors that name the file and the byte."""

import codecs
import io
from collections.abc import Callable, Iterator
from pathlib import Path

from charlstm.errors import ArgumentError, CharlstmError, quoted
from charlstm.text.encoding_guess import likely_encoding, unicode_encoding

# The byte-order marks that are dropped at the start of a text. For "utf-16" and "utf-32", Python's
# decoder reads the order of the bytes from the mark and drops the mark.
BYTE_ORDER_MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
# Advice for a text that is not in the encoding that the user named.
_OTHER_ENCODING = "name another encoding with `encoding`, or leave it out for UTF-8"


class UndecodableError(CharlstmError):
    """Raised for a text with bytes that are invalid in its encoding."""


def encoding_for(level: str, name: str) -> str:
    """Return Python's normalised name of an encoding.

    Raises CharlstmError for an unknown encoding. At level "byte" only "utf-8" is accepted.
    """
    encoding = _text_encoding(name)
    if level == "byte" and encoding != "utf-8":
        raise ArgumentError(
            f'`level="byte"` reads bytes as they are: leave out `encoding={quoted(encoding)}`'
        )
    return encoding


def _text_encoding(name: str) -> str:
    """Return Python's normalised name of an encoding; CharlstmError for an unknown encoding."""
    try:
        b" ".decode(name, "replace")  # This call fails for codecs from bytes to bytes, such as hex.
        codecs.getincrementaldecoder(name)
        normal = codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise ArgumentError(
            f"`encoding={quoted(name)}` is not a text encoding that Python knows: give a name such "
            "as utf-8 or latin-1"
        ) from error
    return "utf-8" if normal == "utf-8-sig" else normal


def decoded_chunks(
    path: Path,
    read: Callable[[], bytes],
    damage_errors: tuple[type[Exception], ...],
    level: str,
    encoding: str,
    newlines: str,
    changed: Callable[[int], None] | None = None,
) -> Iterator[str]:
    """Yield the text of each chunk of bytes; "" for a chunk that completes no character.

    At level "byte", each character stands for one byte, whose value is its code point. A byte-order
    mark at the start is dropped.

    path: the name of the text in error messages.
    read: a function that returns the next chunk of bytes, and b"" at the end of the text.
    damage_errors: the exceptions that `read` raises for damaged compressed data.
    encoding: a name that `encoding_for` returned.
    newlines: "keep", or "lf" to read each \\r\\n and each \\r as \\n.
    changed: called for each chunk with the number of line ends in it that "lf" changes.

    Raises CharlstmError for damaged compressed data, and UndecodableError for bytes that are
        invalid in the encoding.
    """
    decode = _decoder(level, encoding, newlines, changed)
    mark = BYTE_ORDER_MARKS.get(encoding, b"")
    try:
        data = read()
        while data and len(data) < len(mark) and mark.startswith(data) and (more := read()):
            data += more
        fed = len(mark) if mark and data.startswith(mark) else 0
        ended = not data
        data = data[fed:]
        while True:
            fed += len(data)
            yield decode(data, ended)
            if ended:
                return
            data = read()
            ended = not data
    except damage_errors as error:
        raise CharlstmError(
            f"{path}: the compressed data is damaged or incomplete ({error}): copy the file again"
        ) from error
    except UnicodeDecodeError as error:
        # error.object is the last chunk, preceded by bytes that the decoder kept from the chunk
        # before.
        offset = fed - len(error.object) + error.start
        name = "UTF-8" if encoding == "utf-8" else encoding
        raise UndecodableError(
            f"{path}: invalid {name} at byte {offset} (0x{error.object[error.start]:02x}, "
            f"{error.reason}): {_advice(encoding, error)}"
        ) from error
    except UnicodeError as error:
        # The error, for example on UTF-16 without a byte-order mark, names no byte.
        raise UndecodableError(f"{path}: {error}: {_OTHER_ENCODING}") from error


def _advice(encoding: str, error: UnicodeDecodeError) -> str:
    """Return advice on a text with invalid bytes; it names the likely encoding if there is one."""
    likely = likely_encoding(error.object, error.start) if encoding == "utf-8" else ""
    if likely:
        return f"the text is likely {likely}, which `encoding={quoted(likely)}` reads"
    return "name the text's encoding with `encoding`" if encoding == "utf-8" else _OTHER_ENCODING


def refuse_other_unicode(path: Path, start: bytes, encoding: str) -> None:
    """Raise CharlstmError if a text to be read as UTF-8 is UTF-16 or UTF-32.

    start: the first bytes of the text. Without this check, text in UTF-16 could be read as UTF-8
        with a NUL after each character.
    """
    if encoding == "utf-8" and (likely := unicode_encoding(start)):
        raise CharlstmError(
            f"{path}: not UTF-8: the text is likely {likely}, which `encoding={quoted(likely)}` "
            "reads"
        )


def _decoder(
    level: str, encoding: str, newlines: str, changed: Callable[[int], None] | None
) -> Callable[[bytes, bool], str]:
    decoder = codecs.getincrementaldecoder("latin-1" if level == "byte" else encoding)("strict")
    if newlines == "keep":
        return decoder.decode
    # Made with None, IncrementalNewlineDecoder decodes text, but is declared to decode only bytes.
    translate: Callable[..., str] = io.IncrementalNewlineDecoder(None, translate=True).decode

    def decode(data: bytes, final: bool) -> str:
        text = decoder.decode(data, final)
        if changed is not None:
            changed(text.count("\r"))
        return translate(text, final)

    return decode
