"""Text files of any size to ids on disk, in small pieces, once for each content."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np

from charlstm.arrays import Ids
from charlstm.config import CorpusConfig
from charlstm.errors import CharlstmError
from charlstm.system.atomic_files import atomic_write
from charlstm.text.cache import cache_folder, cache_limit, discard, make_room, mark_used, new_entry
from charlstm.text.reading import READ_BYTES, ReadingProgress, TextFiles
from charlstm.text.vocab import MAX_SYMBOLS, Vocab, code_points
from charlstm.text.words import LINE_END, UNKNOWN_WORD, WordCounts, split_chunks

FORMAT = 1  # of the cache: raised whenever the same text would be stored otherwise
MAX_CHARACTERS_OF_WORDS = 1 << 22  # of a vocabulary: in a checkpoint they may take seven times that


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as ids: the training files one after another, then the validation files.

    ids: (characters,) read-only, mapped from disk, of type `vocab.dtype`.
    bytes: size of the text in UTF-8 (at level "byte", of the bytes themselves).
    train_characters: how many of the ids, from the first, are of the training files.
    digest: a SHA-256 in hexadecimal over the bytes of each file as it is on disk, their order,
        which are for validation, the level, the encoding and the newlines; not over their names,
        nor an extra vocabulary.
    paths: the files that were read, in order.
    """

    ids: Ids
    vocab: Vocab
    bytes: int
    train_characters: int
    digest: str
    paths: tuple[str, ...]

    @property
    def characters(self) -> int:
        """How many ids there are: characters, or bytes at level "byte"."""
        return len(self.ids)


def open_corpus(
    paths: Sequence[str | Path],
    *,
    level: str = "char",
    validation_paths: Sequence[str | Path] = (),
    encoding: str = "utf-8",
    newlines: str = "keep",
    vocab_size: int | None = None,
    extra: Vocab | None = None,
    cache: Path | None = None,
    progress: ReadingProgress | None = None,
    chunk_bytes: int = READ_BYTES,
    run: Path | None = None,
) -> Corpus:
    """Return the text of files and folders as ids, from the cache if it was read before.

    A folder stands for all files in it and below, in the order of their relative paths, without
    hidden names, links to folders, and folders below it that hold models. Files compressed with
    gzip or xz are read as what they hold. A byte-order mark at the start of a file is dropped.

    level: "char", "byte" for the files' bytes as they are, or "word".
    vocab_size: how many symbols the vocabulary is to have at level "word": the line end, the
        unknown word, and the most frequent words; None for all words.
    newlines: "keep", or "lf" to make \\n of each \\r\\n and \\r.
    extra: a vocabulary whose symbols are to be in the resulting one too.
    cache: the folder to keep the ids in, instead of `cache_folder()`.
    progress: called as progress(done, total, what), in bytes of the files, during each of up to
    three passes; what is "hashing", "scanning" or "encoding".
    chunk_bytes: how much is read at a time.
    run: the folder of a run, which is not text even where it lies among it.

    Raises CharlstmError for what cannot be read, decoded, learnt from or stored.
    """
    texts = TextFiles.find(
        paths,
        validation_paths,
        level=level,
        encoding=encoding,
        newlines=newlines,
        chunk_bytes=chunk_bytes,
        run=run,
    )
    if vocab_size is not None and (level != "word" or not 2 < vocab_size <= MAX_SYMBOLS):
        raise CharlstmError(
            f"--vocab-size takes a number from 3 to {MAX_SYMBOLS}, and goes with --level word"
        )
    if extra is not None and extra.level != level:
        raise CharlstmError(
            f"the vocabulary to be extended is of level {extra.level}, the text of level {level}: "
            f"use --level {extra.level}"
        )
    cache_limit()  # a bad setting is told before the work, not after it
    digest = texts.digest(progress)
    options = [FORMAT, digest, vocab_size, None if extra is None else extra.to_dict()]
    key = hashlib.sha256(json.dumps(options).encode()).hexdigest()
    root = cache_folder() if cache is None else cache
    was_there = (root / key).exists()
    try:
        return _load(root / key, digest, texts)
    except Exception:  # not there, or damaged in whatever way: it is made anew
        if was_there:  # else it is whole, by a process that has made it meanwhile
            discard(root / key)
        _make(root, key, texts, vocab_size, extra, progress)
    try:
        return _load(root / key, digest, texts)
    except Exception as error:
        raise CharlstmError(
            f"{root}: the encoded text stored there cannot be used ({error}): try again, or set "
            "CHARLSTM_CACHE to another folder"
        ) from error


def spool(stream: BinaryIO, path: Path) -> None:
    """Copy a stream that can be read only once, such as standard input, to the file `path`.

    Raises CharlstmError if that fails; then `path` stays as it was.
    """
    try:
        with atomic_write(path) as file:
            shutil.copyfileobj(stream, file, READ_BYTES)
    except OSError as error:
        raise CharlstmError(f"cannot write {path}: {error.strerror or error}") from error


def _make(
    root: Path,
    key: str,
    texts: TextFiles,
    vocab_size: int | None,
    extra: Vocab | None,
    progress: ReadingProgress | None,
) -> None:
    """Put the ids of `texts` into the cache as the entry `key`."""
    if texts.level == "word":
        vocab, train, validation, size = _scan_words(texts, vocab_size, extra, progress)
    else:
        vocab, train, validation, size = _scan(texts, extra, progress)
    facts = {
        "vocab": vocab.to_dict(),
        "characters": train + validation,
        "train_characters": train,
        "bytes": size,
    }
    try:
        with new_entry(root, key) as folder:
            _write_ids(folder / "ids.npy", texts, vocab, train + validation, progress)
            with atomic_write(folder / "corpus.json") as file:
                file.write(json.dumps(facts).encode())
        make_room(root, key)
    except OSError as error:
        needed = (train + validation) * vocab.dtype.itemsize
        raise CharlstmError(
            f"cannot keep the encoded text in {root}, where it takes {needed:,} bytes "
            f"({error.strerror or error}): make room, or set CHARLSTM_CACHE to another folder"
        ) from error


def _scan(
    texts: TextFiles, extra: Vocab | None, progress: ReadingProgress | None
) -> tuple[Vocab, int, int, int]:
    """Return the vocabulary, the characters for training and validation, and the UTF-8 size."""
    found = np.zeros(0x110000, bool)
    if extra is not None and extra.level == "char":
        found[code_points(extra.characters)] = True
    known = b""  # the ASCII characters found so far
    counts = [0, 0]
    size = 0
    for held_out, text in texts.pieces("scanning", progress):
        counts[held_out] += len(text)
        if texts.level == "byte":
            size += len(text)
            continue
        data = text.encode("utf-8", "surrogatepass")
        size += len(data)
        # Most of most texts is ASCII, and deleting that is much faster than looking at it.
        rest = data.translate(None, known)
        if rest:
            found[code_points(rest.decode("utf-8", "surrogatepass"))] = True
            known = bytes(np.flatnonzero(found[:128]).tolist())
    train, validation = counts
    _refuse_too_small(texts.files[: texts.train_files], "to learn from", train)
    if texts.train_files < len(texts.files):
        _refuse_too_small(texts.files[texts.train_files :], "for validation", validation)
    if texts.level == "byte":
        return Vocab.bytes(), train, validation, size
    codes = np.flatnonzero(found).tolist()
    if len(codes) < 2:
        raise CharlstmError(
            f"{texts.files[0]}: too small to learn from: {chr(codes[0])!r} is its only character"
        )
    return Vocab.from_characters(map(chr, codes)), train, validation, size


def _scan_words(
    texts: TextFiles, vocab_size: int | None, extra: Vocab | None, progress: ReadingProgress | None
) -> tuple[Vocab, int, int, int]:
    """What _scan returns, in words; the vocabulary holds `extra` and the most frequent words."""
    found = WordCounts()
    counts = [0, 0]
    for held_out, words in _words(texts, "scanning", progress):
        counts[held_out] += len(words)
        found.add(words)
        if vocab_size is None and (found.forgotten or len(found.counts) > MAX_SYMBOLS):
            raise CharlstmError(
                f"{texts.files[0]}: more distinct words than a vocabulary may have "
                f"({MAX_SYMBOLS:,}): take the most frequent ones with --vocab-size"
            )
    train, validation = counts
    _refuse_too_small(texts.files[: texts.train_files], "to learn from", train)
    found.finish()
    for always_there in (LINE_END, UNKNOWN_WORD):
        del found.counts[always_there]
    chosen = found.most_frequent(None if vocab_size is None else vocab_size - 2)
    if (characters := sum(map(len, chosen))) > MAX_CHARACTERS_OF_WORDS:
        raise CharlstmError(
            f"{texts.files[0]}: distinct words of {characters:,} characters together, at most "
            f"{MAX_CHARACTERS_OF_WORDS:,} can be kept with a model: take fewer with --vocab-size"
        )
    vocab = Vocab.from_words(chosen)
    return vocab if extra is None else vocab.union(extra), train, validation, found.bytes


def _words(
    texts: TextFiles, what: str, progress: ReadingProgress | None
) -> Iterator[tuple[bool, list[str]]]:
    """The words of all files, a list at a time; no word reaches from training into validation."""
    for held_out, group in groupby(texts.pieces(what, progress), key=lambda piece: piece[0]):
        yield from ((held_out, words) for words in split_chunks(text for _, text in group))


def _refuse_too_small(files: Sequence[Path], purpose: str, characters: int) -> None:
    if characters < 2:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise CharlstmError(
            f"{files[0]}{more}: too small {purpose}: {characters} characters, at least 2 are needed"
        )


def _write_ids(
    path: Path, texts: TextFiles, vocab: Vocab, length: int, progress: ReadingProgress | None
) -> None:
    # Written, not mapped: on a full disk writing raises OSError, a mapping ends the process.
    with path.open("wb") as file:
        header = {"descr": vocab.dtype.str, "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(file, header)
        for data in _encoded(texts, vocab, progress):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _encoded(
    texts: TextFiles, vocab: Vocab, progress: ReadingProgress | None
) -> Iterator[bytes | memoryview]:
    """The ids of the texts, piece by piece, as they lie in memory."""
    if vocab.level == "word":
        for _, words in _words(texts, "encoding", progress):
            yield vocab.encode_words(words).data
        return
    for _, text in texts.pieces("encoding", progress):
        if vocab.level == "byte":
            yield text.encode("latin-1")
        else:
            yield vocab.encode_codes(code_points(text)).data


def _load(entry: Path, digest: str, texts: TextFiles) -> Corpus:
    """Return what the entry holds; raises one of many exceptions if it is not as written."""
    facts = json.loads((entry / "corpus.json").read_bytes())
    vocab = Vocab.from_dict(facts["vocab"])
    characters, train, size = (
        int(facts[name]) for name in ("characters", "train_characters", "bytes")
    )
    path = entry / "ids.npy"
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if not (
        mapped.shape == (characters,)
        and mapped.dtype == vocab.dtype
        and mapped.offset + mapped.nbytes == path.stat().st_size
        and vocab.level == texts.level
        and 0 < train <= characters
    ):
        raise ValueError("its parts do not fit each other")
    mark_used(entry)
    # A plain array over the mapping: slices of np.memmap are slower to take.
    return Corpus(mapped.view(np.ndarray), vocab, size, train, digest, tuple(map(str, texts.files)))


def split(corpus: Corpus, text: CorpusConfig) -> tuple[Ids, Ids]:
    """The ids to train on and those to validate on: contiguous, the last part for validation."""
    if text.val_file:
        border = corpus.train_characters
    else:
        border = int(corpus.characters * (1 - text.val_frac))
    return corpus.ids[:border], corpus.ids[border:]
