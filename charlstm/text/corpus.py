"""Corpus: text files of any size as ids on disk, and their split into training and validation ids.

Files are read in small chunks. The cache keeps the ids: the same content is encoded only once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from charlstm.arrays import Ids
from charlstm.config import CorpusConfig
from charlstm.errors import ArgumentError, CharlstmError, quoted
from charlstm.system.disk import if_full
from charlstm.text.cache import (
    cache_folder,
    cache_limit,
    discard,
    mark_used,
    new_entry,
    trim_to_limit,
)
from charlstm.text.cache_entry import (
    DamagedEntryError,
    EntryFacts,
    cache_key,
    open_entry,
    write_entry,
)
from charlstm.text.decompression import READ_BYTES
from charlstm.text.encodings import UndecodableError
from charlstm.text.file_split import held_out_sizes, starts_of_parts
from charlstm.text.line_split import border_between_lines, split_by_lines
from charlstm.text.reading import ChangedTextError, ReadingProgress, TextFiles
from charlstm.text.scanning import scan, words_of
from charlstm.text.vocab import MAX_SYMBOLS, Vocab, code_points, line_end


@dataclass(frozen=True, eq=False)
class Corpus:
    """The ids of a text: first those of the training text, then those of the validation text.

    ids: (length,), read-only, mapped from disk, of type `vocab.dtype`.
    bytes: size of the text in UTF-8; at level "byte", the number of its bytes.
    changed_line_ends: the number of line ends \\r\\n and \\r that were read as \\n.
    validation_sizes: (files,) how many ids of each file belong to the validation text: all ids of a
        validation file; of a training file, its last ids if `open_corpus` held some out.
    digest: a SHA-256, in hexadecimal, of the bytes of each file on disk, the order of the files,
        their roles (training or validation), the level, the encoding and the newlines. The digest
        does not depend on the names of the files or on a base vocabulary.
    file_bytes: the total size of the files on disk.
    paths: the files that were read, in order.
    html_files: those of the paths that are HTML pages; () at level "byte" and for a saved run.
    """

    ids: Ids
    vocab: Vocab
    bytes: int
    changed_line_ends: int
    validation_sizes: Ids
    digest: str
    file_bytes: int
    paths: tuple[str, ...]
    html_files: tuple[str, ...]

    @property
    def length(self) -> int:
        """The number of ids: of characters, bytes or words, depending on the level."""
        return len(self.ids)

    @property
    def train_length(self) -> int:
        """The number of ids of the training text."""
        return self.length - int(self.validation_sizes.sum())


@dataclass(frozen=True, eq=False)
class Split:
    """The ids of a text to train on, and those to validate on.

    starts: (parts,) the positions in `validation` at which its parts start. Each part is read from
        a state of zeros: the state is not carried over the end of a part.
    """

    train: Ids
    validation: Ids
    starts: Ids


def open_corpus(
    paths: Sequence[str | Path],
    *,
    level: str = "char",
    validation_paths: Sequence[str | Path] = (),
    encoding: str = "utf-8",
    newlines: str = "keep",
    vocab_size: int | None = None,
    spell_below: float = 0,
    base_vocab: Vocab | None = None,
    held_out: float = 0,
    cache: Path | None = None,
    progress: ReadingProgress | None = None,
    chunk_bytes: int = READ_BYTES,
    run: Path | None = None,
    expected: tuple[int, str] | None = None,
) -> Corpus:
    """Return the text of files and folders as ids. The ids come from the cache if it has them.

    A folder stands for all files in it and in its subfolders, in the order of their relative paths.
    Hidden files and folders, links to folders, and folders that hold models are left out. Files
    that are compressed with gzip or xz are decompressed. A byte-order mark at the start of a file
    is dropped.

    level: the kind of symbol: "char", "byte" (of the files as they are) or "word".
    vocab_size: the number of symbols of the vocabulary at level "word": the line end, the unknown
        word, and the most frequent words; None for all words.
    spell_below: at level "char", the share of the text below which a character beyond ASCII is
        spelled as the bytes of its UTF-8 form; see spelling.py. With `base_vocab`, characters that
        it spells stay spelled, and no others are.
    newlines: "keep", or "lf" to turn each \\r\\n and \\r into \\n.
    base_vocab: a vocabulary whose symbols are added to those of the text.
    held_out: the fraction of each training file that goes to the validation text, from its end.
    cache: the folder to keep the ids in, instead of `cache_folder()`.
    progress: called as progress(done, total, stage) during each of up to three passes over the
        files. done and total are bytes; the stage is "hashing", "scanning" or "encoding".
    chunk_bytes: the number of bytes to read at a time.
    run: the folder of a run, whose files are not read as text even if `paths` contain that folder.
    expected: the file_bytes and the digest that the corpus must have. If the size differs,
        ChangedTextError is raised before any file is opened. If only the digest differs,
        ChangedTextError is raised before the text is encoded.

    Raises CharlstmError for files that cannot be read or decoded or are no plain text, for a text
    that is too small, and if the ids cannot be stored.
    """
    texts = TextFiles.find(
        paths,
        validation_paths,
        level=level,
        encoding=encoding,
        newlines=newlines,
        chunk_bytes=chunk_bytes,
        run=run,
        most_bytes=None if expected is None else expected[0],
    )
    if vocab_size is not None and (level != "word" or not 2 < vocab_size <= MAX_SYMBOLS):
        raise ArgumentError(
            f'`vocab_size` takes a number from 3 to {MAX_SYMBOLS}, and needs `level="word"`'
        )
    if base_vocab is not None and base_vocab.level != level:
        raise CharlstmError(
            f"the vocabulary to extend is of level {base_vocab.level}, the text of level "
            f"{level}: use `level={quoted(base_vocab.level)}`"
        )
    # A bad CHARLSTM_CACHE or CHARLSTM_CACHE_GB is refused now, before the text is read.
    root = cache_folder() if cache is None else cache
    cache_limit()
    changed = ChangedTextError("the text has changed: its size or digest is not as expected")
    if expected is not None and texts.total_bytes != expected[0]:
        raise changed
    # The kinds of the files of a saved run were checked when the run began.
    html_files = () if expected else texts.check_kinds((*paths, *validation_paths))
    digest = texts.digest(progress)
    if expected is not None and digest != expected[1]:
        raise changed
    # For a single file, the order of the ids does not depend on `held_out`: the key leaves it out.
    key = cache_key(digest, vocab_size, spell_below, base_vocab, held_out * (len(texts.files) > 1))
    was_there = (root / key).exists()
    try:
        facts, ids = open_entry(root / key)
    except DamagedEntryError:
        # Only an entry that existed before open_entry is removed: another process may have made a
        # newer one.
        if was_there:
            discard(root / key)
        try:
            _make_entry(root, key, texts, vocab_size, spell_below, base_vocab, held_out, progress)
        except UndecodableError as error:
            if base_vocab is not None:  # The level of the text is that of the vocabulary.
                raise
            raise UndecodableError(
                f'{error}, or take the bytes as they are with `level="byte"`'
            ) from error.__cause__
        try:
            facts, ids = open_entry(root / key)
        except DamagedEntryError as error:
            raise CharlstmError(
                f"{root}: the encoded text stored there cannot be used ({error}): try again, or "
                "set CHARLSTM_CACHE to another folder"
            ) from error
    mark_used(root / key)
    paths_read = tuple(map(str, texts.files))
    return Corpus(
        ids=ids,
        vocab=facts.vocab,
        bytes=facts.bytes,
        changed_line_ends=facts.changed_line_ends,
        validation_sizes=_validation_sizes(texts, facts.file_symbols, held_out),
        digest=digest,
        file_bytes=texts.total_bytes,
        paths=paths_read,
        html_files=tuple(map(str, html_files)),
    )


def _make_entry(
    root: Path,
    key: str,
    texts: TextFiles,
    vocab_size: int | None,
    spell_below: float,
    base_vocab: Vocab | None,
    held_out: float,
    progress: ReadingProgress | None,
) -> None:
    """Encode `texts` and store their ids in the cache `root` as the entry `key`."""
    found = scan(texts, vocab_size, spell_below, base_vocab, progress)
    facts = EntryFacts(found.vocab, found.file_symbols, found.bytes, found.changed_line_ends)
    train_sizes = found.file_symbols - _validation_sizes(texts, found.file_symbols, held_out)
    try:
        with new_entry(root, key) as folder:
            chunks = _encoded(texts, found.vocab, progress)
            write_entry(folder, facts, _training_text_first(chunks, train_sizes, folder))
        trim_to_limit(root, key)
    except OSError as error:
        raise CharlstmError(
            f"cannot keep the encoded text in {root}, where it takes {facts.ids_bytes:,} bytes "
            f"({error.strerror or error}): {if_full(error, 'make room, or ')}set CHARLSTM_CACHE to "
            "another folder"
        ) from error


def _validation_sizes(texts: TextFiles, file_symbols: Ids, held_out: float) -> Ids:
    """Return how many symbols of each file belong to the validation text, (files,)."""
    border = texts.train_files
    of_training_files = held_out_sizes(file_symbols[:border], held_out)
    return np.concatenate((of_training_files, file_symbols[border:]))


def _encoded(
    texts: TextFiles, vocab: Vocab, progress: ReadingProgress | None
) -> Iterator[tuple[int, Ids]]:
    """Yield the ids of the texts in chunks, as pairs (number of the file from 0, ids)."""
    if vocab.level == "word":
        for number, words in words_of(texts, "encoding", progress):
            yield number, vocab.encode_words(words)
        return
    for number, text in texts.chunks("encoding", progress):
        if vocab.level == "byte":
            yield number, np.frombuffer(text.encode("latin-1"), np.uint8)
        else:
            yield number, vocab.encode_codes(code_points(text))


def _training_text_first(
    chunks: Iterator[tuple[int, Ids]], train_sizes: Ids, folder: Path
) -> Iterator[memoryview | bytes]:
    """Yield the bytes of the ids to store: those of the training text, then those for validation.

    chunks: the ids of the files in order, as pairs (number of the file, ids).
    train_sizes: (files,) the number of ids at the beginning of each file to train on.
    folder: where the other ids are kept until those of the training text are stored.
    """
    left = train_sizes.tolist()
    with TemporaryFile(dir=folder) as validation:
        for number, ids in chunks:
            size = min(left[number], len(ids))
            left[number] -= size
            yield ids[:size].data
            validation.write(ids[size:].data)
        validation.seek(0)
        while data := validation.read(READ_BYTES):
            yield data


def split_train_validation(
    corpus: Corpus, config: CorpusConfig, *, lines: bool, seed: int = 0
) -> Split:
    """Return the ids to train on and the ids to validate on, each contiguous in memory.

    The validation ids are those of the validation files. If there are no such files, they are a
    fraction `val_frac` of the text: with `val_split` "end" the last ids of all files joined, with
    "each" the last ids of each file, with "random" the ids of lines drawn by the seed.

    corpus: for "each", it must have been opened with `held_out` equal to `val_frac`.
    lines: whether each line is a text of its own; "end" then cuts no line in two.
    """
    starts = np.zeros(1, np.int64)
    if config.val_split == "random" and not config.val_file:
        ids = split_by_lines(corpus.ids, line_end(corpus.vocab), config.val_frac, seed)
        return Split(*ids, starts)
    border = corpus.train_length
    if config.val_split == "end" and not config.val_file:
        border = int(corpus.length * (1 - config.val_frac))
        if lines:
            border = border_between_lines(corpus.ids, line_end(corpus.vocab), border)
    elif not config.val_file:
        starts = starts_of_parts(corpus.validation_sizes)
    return Split(corpus.ids[:border], corpus.ids[border:], starts)
