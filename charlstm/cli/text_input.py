"""Text on its way in and out of the commands."""

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from charlstm.arrays import Ids
from charlstm.errors import CharlstmError
from charlstm.system.memory import require_memory
from charlstm.text.corpus import spool
from charlstm.text.reading import TextFiles
from charlstm.text.vocab import Vocab

LONGEST_LINE = 1 << 22  # characters that `score` takes for a line
BYTES_A_CHARACTER = 16  # of a text that is read as a whole: itself, its code points, its ids


def read_pieces(paths: Sequence[str | Path], encoding: str, level: str = "char") -> Iterator[str]:
    """The text of files and folders, piece by piece; - is standard input."""
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "standard input"
        if "-" in map(str, paths):
            if sys.stdin is None:  # a process that was started without one
                raise CharlstmError("there is no standard input to read (-)")
            spool(sys.stdin.buffer, kept)
        found = [kept if str(path) == "-" else path for path in paths]
        files = TextFiles.find(found, level=level, encoding=encoding)
        yield from (text for _, text in files.pieces("reading"))


def read_whole(pieces: Iterator[str]) -> str:
    """A text that is needed as a whole; CharlstmError for one that is too long for the memory."""
    read, size = [], 0
    for piece in pieces:
        read.append(piece)
        size += len(piece)
        require_memory(
            BYTES_A_CHARACTER * size, f"a text of {size:,} characters or more", "take a part of it"
        )
    return "".join(read)


def read_for(vocab: Vocab, paths: Sequence[str | Path], encoding: str) -> Iterator[str]:
    """The text of files as encode_read takes it for this vocabulary."""
    return read_pieces(paths, encoding, "byte" if vocab.level == "byte" else "char")


def encode_read(vocab: Vocab, text: str, unknown: str) -> Ids:
    """The ids of text that read_for gave; says what unknown characters are read as."""
    if vocab.level == "byte":  # there, a character stands for each byte
        return np.frombuffer(text.encode("latin-1"), np.uint8)
    warn_unknown(vocab, text, unknown)
    return vocab.encode(text, unknown=unknown)


def split_lines(pieces: Iterator[str]) -> Iterator[str]:
    """The lines of a text that comes in pieces, without their ends.

    Raises CharlstmError for one that is too long for a line.
    """
    begun: list[str] = []  # the pieces of a line: to add each to one text would take their square
    size = 0
    for piece in pieces:
        first, *others = piece.split("\n")
        begun.append(first)
        size += len(first)
        if size > LONGEST_LINE:
            raise CharlstmError(
                f"a line of more than {LONGEST_LINE:,} characters: charlstm eval takes long texts"
            )
        if others:
            yield "".join(begun).removesuffix("\r")
            *whole, last = others
            yield from (line.removesuffix("\r") for line in whole)
            begun, size = [last], len(last)
    if rest := "".join(begun):
        yield rest


def warn_unknown(
    vocab: Vocab, text: str, unknown: str, told: Collection[str] = ()
) -> dict[str, str]:
    """Say what each unknown character is read as, but for those told before; all of them."""
    if unknown == "error":
        return {}
    replacements = vocab.replacements(text)
    for old, new in replacements.items():
        if old not in told:
            is_read = new and unknown == "replace"
            what = f"read as {new!r}" if is_read else "left out"
            click.echo(f"{old!r} is unknown to the model: {what}", err=True)
    return replacements


def writer() -> Callable[[str], None]:
    """What writes to standard output at once."""

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    return write
