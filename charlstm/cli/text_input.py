"""The text that a command reads: files, standard input, lines, and unknown characters in them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

import click
import numpy as np

from charlstm.arrays import Ids
from charlstm.errors import CharlstmError, quoted
from charlstm.runs.folder import refuse_name_of_run
from charlstm.system.disk import if_full
from charlstm.system.memory import require_memory
from charlstm.text.decompression import READ_BYTES
from charlstm.text.encodings import encoding_for
from charlstm.text.reading import TextFiles, newlines_for
from charlstm.text.standard_input import read_standard_input, require_given_once
from charlstm.text.vocab import UnknownTreatment, Vocab
from charlstm.text.words import split_chunks

LONGEST_LINE = 1 << 22  # length of the longest line that `charlstm score` accepts, in characters
# Bytes of memory for each character of a text in one string: the string, code points and ids.
BYTES_PER_CHARACTER = 16


def read_text(
    paths: Sequence[str | Path],
    encoding: str,
    newlines: str,
    level: str = "char",
    chunk_bytes: int = READ_BYTES,
) -> Iterator[tuple[str, str]]:
    """Yield the text of files and folders, as pairs (name of the file, piece of its text).

    The path "-" means standard input, whose name is "standard input". Text of standard
    input is yielded as soon as it arrives. At level "byte", each character stands for one byte,
    whose value is its code point.
    """
    names = list(map(str, paths))
    require_given_once(names)
    for name in names:
        if name != "-":
            with suppress(OSError):  # A path too long, which TextFiles.find refuses.
                refuse_name_of_run(Path(name))
    texts = {  # All paths are checked before any text is read: a missing file is reported at once.
        name: TextFiles.find(
            [name], level=level, encoding=encoding, newlines=newlines, chunk_bytes=chunk_bytes
        )
        for name in names
        if name != "-"
    }
    for name, files in texts.items():
        files.check_kinds([name])
    for name in names:
        if name == "-":
            for text in read_standard_input(level, encoding, newlines, chunk_bytes):
                yield "standard input", text
        else:
            for number, text in texts[name].chunks("reading"):
                yield str(texts[name].files[number]), text


def read_text_for(
    vocab: Vocab,
    paths: Sequence[str | Path],
    unknown: UnknownTreatment,
    encoding: str,
    newlines: str | None = None,
    chunk_bytes: int = READ_BYTES,
) -> Iterator[str]:
    """Yield the text of files, in pieces, in the form that encode_text expects.

    unknown: the treatment of unknown characters. With "error", CharlstmError names the file and the
        line of the first unknown character, after the text before that character was yielded.
    newlines: the treatment of line ends; by default, the result of newlines_for.
    """
    level = "byte" if vocab.level == "byte" else "char"
    if level == "byte" and encoding_for("char", encoding) != "utf-8":
        raise CharlstmError(
            f"a model of bytes reads bytes as they are: leave out `encoding={quoted(encoding)}`"
        )
    pieces = read_text(paths, encoding, newlines or newlines_for(vocab), level, chunk_bytes)
    return _known_text(vocab, pieces) if unknown == "error" else (text for _, text in pieces)


def _known_text(vocab: Vocab, pieces: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the text of the pairs from read_text, up to the first unknown character.

    Raises CharlstmError for that character.
    """
    file, line = "", 1
    for name, text in pieces:
        if name != file:
            file, line = name, 1
        if characters := vocab.replacements(text):
            before = text[: min(map(text.index, characters))]
            if before:
                yield before
            character, line = text[len(before)], line + before.count("\n")
            raise CharlstmError(
                f"{file}, line {line:,}: the vocabulary has no {character!r} "
                f"(U+{ord(character):04X}): --unknown skip leaves such characters out, "
                "--unknown replace takes the nearest known ones"
            )
        line += text.count("\n")
        yield text


def decode_bytes(vocab: Vocab, text: str) -> str:
    """Return a text from read_text_for in the form that Vocab.encode expects.

    For a model of bytes, "\\udc80" to "\\udcff" stand for bytes that are not valid UTF-8.
    """
    if vocab.level != "byte":
        return text
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def encode_text(vocab: Vocab, text: str, unknown: UnknownTreatment) -> Ids:
    """Return the ids of a text from read_text_for, and warn of its unknown characters.

    unknown: "error", "skip" or "replace", the treatment of unknown characters.
    """
    if vocab.level == "byte":
        return np.frombuffer(text.encode("latin-1"), np.uint8)
    warn_unknown(vocab, text, unknown)
    return vocab.encode(text, unknown=unknown)


def encode_on_disk(vocab: Vocab, pieces: Iterable[str], unknown: UnknownTreatment) -> Ids:
    """Return the ids of a text of any size, given in pieces, and warn of its unknown characters.

    The ids are read-only, mapped from a temporary file without a name, which the system removes
    when the ids are no longer used.

    pieces: the result of read_text_for.
    unknown: "error", "skip" or "replace", the treatment of unknown characters.
    """
    try:
        with TemporaryFile() as file:
            for ids in _encoded_pieces(vocab, pieces, unknown):
                file.write(ids.data)
            file.flush()
            if not file.tell():
                return np.empty(0, vocab.dtype)
            # Taking a slice of a plain array is faster than taking one of an np.memmap.
            return np.memmap(file, vocab.dtype, "r").view(np.ndarray)
    except OSError as error:
        raise CharlstmError(
            "cannot keep the encoded text in the folder for temporary files "
            f"({error.strerror or error}): {if_full(error, 'make room there, or ')}set TMPDIR to "
            "another folder"
        ) from error


def _encoded_pieces(
    vocab: Vocab, pieces: Iterable[str], unknown: UnknownTreatment
) -> Iterator[Ids]:
    """Yield the ids of a text that is given in pieces; a piece may end within a word."""
    if vocab.level == "word":
        yield from map(vocab.encode_words, split_chunks(pieces))
        return
    warned, offset = set[str](), 0
    for piece in pieces:
        if vocab.level == "byte":
            yield np.frombuffer(piece.encode("latin-1"), np.uint8)
            continue
        warned |= warn_unknown(vocab, piece, unknown, warned).keys()
        yield vocab.encode(piece, unknown, offset)
        offset += len(piece)


def join_within_memory(pieces: Iterator[str]) -> str:
    """Join the pieces of a text; CharlstmError for a text too long for this machine's memory."""
    joined, size = [], 0
    for piece in pieces:
        joined.append(piece)
        size += len(piece)
        require_memory(
            BYTES_PER_CHARACTER * size,
            f"a text of {size:,} characters or more",
            "give a shorter text",
        )
    return "".join(joined)


def split_lines(pieces: Iterator[str]) -> Iterator[list[str]]:
    """Yield lists of lines of a text that is given in pieces.

    Each list has the lines that a piece completes, without their line ends. No list is empty.

    Raises CharlstmError for a line of more than LONGEST_LINE characters.
    """
    # The pieces of an incomplete line are kept in a list, and joined when the line is complete.
    # Appending each piece to a string would take time proportional to the square of the length.
    begun: list[str] = []
    size = 0
    for piece in pieces:
        first, *others = piece.split("\n")
        begun.append(first)
        size += len(first)
        if size > LONGEST_LINE:
            raise CharlstmError(
                f"a line has more than {LONGEST_LINE:,} characters: use charlstm eval for it"
            )
        if others:
            *complete, last = others
            yield [line.removesuffix("\r") for line in ("".join(begun), *complete)]
            begun, size = [last], len(last)
    if rest := "".join(begun):
        yield [rest]


def warn_unknown(
    vocab: Vocab, text: str, unknown: UnknownTreatment, known_to_user: Collection[str] = ()
) -> dict[str, str]:
    """Warn on standard error of each unknown character of a text, with its treatment.

    unknown: the treatment, "skip" or "replace". With "error" nothing is printed, because encoding
        the text will raise an error.
    known_to_user: characters of which the user was warned already.

    Returns the unknown characters with their replacements.
    """
    if unknown == "error":
        return {}
    replacements = vocab.replacements(text)
    for character, replacement in replacements.items():
        if character not in known_to_user:
            is_replaced = replacement and unknown == "replace"
            treatment = f"read as {replacement!r}" if is_replaced else "left out"
            click.echo(f"{character!r} is unknown to the model: {treatment}", err=True)
    return replacements
