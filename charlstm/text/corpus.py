"""Corpus: text files of any size as ids on disk, and their split into training and validation ids.

Files are read in small chunks. The cache keeps the ids: the same content is encoded only once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from charlstm.arrays import Ids
from charlstm.config import CorpusConfig
from charlstm.errors import CharlstmError
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
from charlstm.text.line_split import split_by_lines
from charlstm.text.reading import ChangedTextError, ReadingProgress, TextFiles
from charlstm.text.scanning import scan, words_of
from charlstm.text.vocab import MAX_SYMBOLS, Vocab, code_points, line_end


@dataclass(frozen=True, eq=False)
class Corpus:
    """The ids of a text: first those of the training files, then those of the validation files.

    ids: (characters,), read-only, mapped from disk, of type `vocab.dtype`.
    bytes: size of the text in UTF-8; at level "byte", the number of its bytes.
    train_characters: the number of ids that come from the training files.
    digest: a SHA-256, in hexadecimal, of the bytes of each file on disk, the order of the files,
        their roles (training or validation), the level, the encoding and the newlines. The digest
        does not depend on the names of the files or on a base vocabulary.
    file_bytes: the total size of the files on disk.
    paths: the files that were read, in order.
    """

    ids: Ids
    vocab: Vocab
    bytes: int
    train_characters: int
    digest: str
    file_bytes: int
    paths: tuple[str, ...]

    @property
    def characters(self) -> int:
        """The number of ids: one for each character, byte or word, depending on the level."""
        return len(self.ids)


def open_corpus(
    paths: Sequence[str | Path],
    *,
    level: str = "char",
    validation_paths: Sequence[str | Path] = (),
    encoding: str = "utf-8",
    newlines: str = "keep",
    vocab_size: int | None = None,
    base_vocab: Vocab | None = None,
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
    newlines: "keep", or "lf" to turn each \\r\\n and \\r into \\n.
    base_vocab: a vocabulary whose symbols are added to those of the text.
    cache: the folder to keep the ids in, instead of `cache_folder()`.
    progress: called as progress(done, total, stage) during each of up to three passes over the
        files. done and total are bytes; the stage is "hashing", "scanning" or "encoding".
    chunk_bytes: the number of bytes to read at a time.
    run: the folder of a run. Its files are not read as text, even if one of `paths` contains it.
    expected: the file_bytes and the digest that the corpus must have. ChangedTextError is raised
        for another size before any file is opened, for another digest before the text is encoded.

    Raises CharlstmError for files that cannot be read or decoded, for a text that is too small, and
    if the ids cannot be stored.
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
        raise CharlstmError(
            f"--vocab-size takes a number from 3 to {MAX_SYMBOLS}, and needs --level word"
        )
    if base_vocab is not None and base_vocab.level != level:
        raise CharlstmError(
            f"the vocabulary to extend is of level {base_vocab.level}, the text of level "
            f"{level}: use --level {base_vocab.level}"
        )
    cache_limit()  # A bad CHARLSTM_CACHE_GB is refused now, before the text is read.
    changed = ChangedTextError("the text has changed: its size or digest is not as expected")
    if expected is not None and texts.total_bytes != expected[0]:
        raise changed
    digest = texts.digest(progress)
    if expected is not None and digest != expected[1]:
        raise changed
    key = cache_key(digest, vocab_size, base_vocab)
    root = cache_folder() if cache is None else cache
    was_there = (root / key).exists()
    try:
        facts, ids = open_entry(root / key)
    except DamagedEntryError:
        # An entry that was missing is not removed: another process may have made it meanwhile.
        if was_there:
            discard(root / key)
        _make_entry(root, key, texts, vocab_size, base_vocab, progress)
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
        train_characters=facts.train_characters,
        digest=digest,
        file_bytes=texts.total_bytes,
        paths=paths_read,
    )


def _make_entry(
    root: Path,
    key: str,
    texts: TextFiles,
    vocab_size: int | None,
    base_vocab: Vocab | None,
    progress: ReadingProgress | None,
) -> None:
    """Encode `texts` and store their ids in the cache `root` as the entry `key`."""
    found = scan(texts, vocab_size, base_vocab, progress)
    facts = EntryFacts(found.vocab, found.symbols, found.train_symbols, found.bytes)
    try:
        with new_entry(root, key) as folder:
            write_entry(folder, facts, _encoded(texts, found.vocab, progress))
        trim_to_limit(root, key)
    except OSError as error:
        raise CharlstmError(
            f"cannot keep the encoded text in {root}, where it takes {facts.ids_bytes:,} bytes "
            f"({error.strerror or error}): make room, or set CHARLSTM_CACHE to another folder"
        ) from error


def _encoded(
    texts: TextFiles, vocab: Vocab, progress: ReadingProgress | None
) -> Iterator[bytes | memoryview]:
    """Yield the ids of the texts in chunks, as the bytes to store in the cache."""
    if vocab.level == "word":
        for _, words in words_of(texts, "encoding", progress):
            yield vocab.encode_words(words).data
        return
    for _, text in texts.chunks("encoding", progress):
        if vocab.level == "byte":
            yield text.encode("latin-1")
        else:
            yield vocab.encode_codes(code_points(text)).data


def split_train_validation(corpus: Corpus, config: CorpusConfig, seed: int = 0) -> tuple[Ids, Ids]:
    """Return the ids to train on and the ids to validate on.

    The validation ids are those of the validation files. If there are no such files, they are a
    fraction `val_frac` of all ids: with `val_split` "end" the last ids, with "random" the ids of
    lines drawn by the seed. Both arrays are contiguous in memory.
    """
    if config.val_file:
        border = corpus.train_characters
    elif config.val_split == "random":
        return split_by_lines(corpus.ids, line_end(corpus.vocab), config.val_frac, seed)
    else:
        border = int(corpus.characters * (1 - config.val_frac))
    return corpus.ids[:border], corpus.ids[border:]
