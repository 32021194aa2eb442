"""Standard input as a text, which the user names "-".

Standard input can be read only once. Training reads its text several times, and so copies standard
input to a file.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from charlstm.errors import ArgumentError, CharlstmError
from charlstm.system.atomic_files import atomic_write
from charlstm.text.decompression import READ_BYTES, decompressed_input
from charlstm.text.encodings import decoded_chunks, encoding_for, refuse_other_unicode
from charlstm.text.file_kinds import START_BYTES, refuse_other_kinds


def read_standard_input(
    level: str, encoding: str, newlines: str = "keep", chunk_bytes: int = READ_BYTES
) -> Iterator[str]:
    """Yield the text of standard input in pieces, decompressed and decoded like a file.

    Each piece is yielded as soon as its bytes have arrived.

    chunk_bytes: the largest number of bytes of a piece.
    """
    encoding = encoding_for(level, encoding)
    path = Path("standard input")
    try:
        stream, damage_errors = decompressed_input(path, _standard_input())
        looked_at = level == "byte"

        def read() -> bytes:
            nonlocal looked_at
            data = stream.read1(chunk_bytes)
            if not looked_at:
                looked_at = True
                refuse_other_kinds(path, data[:START_BYTES])
                refuse_other_unicode(path, data[:START_BYTES], encoding)
            return data

        pieces = decoded_chunks(path, read, damage_errors, level, encoding, newlines)
        yield from filter(None, pieces)
    except OSError as error:
        raise CharlstmError(f"cannot read {path}: {error.strerror or error}") from error


def _standard_input() -> Any:
    """Return standard input as a stream of bytes; CharlstmError if there is no standard input."""
    if sys.stdin is None:  # A process may be started without a standard input.
        raise CharlstmError("there is no standard input to read (-): name a file instead")
    return sys.stdin.buffer


def require_given_once(names: Sequence[str]) -> None:
    """Raise CharlstmError if the names of texts contain "-", standard input, more than once."""
    if names.count("-") > 1:
        raise ArgumentError("standard input (-) can be given only once")


def copy_standard_input(paths: Sequence[str | Path], copy: Path) -> tuple[str, ...]:
    """Copy standard input to the file `copy` if "-" is among the paths.

    Returns the paths with that file in place of "-". Raises CharlstmError if "-" is given twice, if
    this process has no standard input, or if the file cannot be written.
    """
    names = tuple(map(str, paths))
    require_given_once(names)
    if "-" not in names:
        return names
    copy_stream(_standard_input(), copy)
    return tuple(str(copy) if name == "-" else name for name in names)


def copy_stream(stream: BinaryIO, path: Path) -> None:
    """Copy a stream to the file `path`.

    Raises CharlstmError if the copy cannot be written; an earlier file `path` is then unchanged.
    """
    try:
        with atomic_write(path) as file:
            shutil.copyfileobj(stream, file, READ_BYTES)
    except OSError as error:
        raise CharlstmError(f"cannot write {path}: {error.strerror or error}") from error
