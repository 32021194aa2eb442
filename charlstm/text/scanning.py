"""The scan: a first pass over text files that finds their vocabulary and their sizes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from charlstm.arrays import Ids
from charlstm.errors import CharlstmError
from charlstm.text.reading import ReadingProgress, TextFiles
from charlstm.text.spelling import FIRST_BYTE, CharacterCounts, to_spell
from charlstm.text.vocab import MAX_SYMBOLS, MAX_WORD_CHARACTERS, Vocab, code_points, unit_of
from charlstm.text.words import LINE_END, UNKNOWN_WORD, WordCounts, split_chunks

# Largest total length of the words of a vocabulary, in characters. A checkpoint may need seven
# bytes for each of these characters.
MAX_CHARACTERS_OF_WORDS = 1 << 22


@dataclass(frozen=True)
class Scan:
    """The vocabulary of some text files, and their sizes.

    file_symbols: (files,) the number of symbols of each file. A symbol is a character, a byte or a
        word, depending on the level.
    bytes: size of the text in UTF-8; at level "byte", the number of its bytes.
    changed_line_ends: the number of line ends \\r\\n and \\r that were read as \\n.
    """

    vocab: Vocab
    file_symbols: Ids
    bytes: int
    changed_line_ends: int


def scan(
    texts: TextFiles,
    vocab_size: int | None,
    spell_below: float,
    base_vocab: Vocab | None,
    progress: ReadingProgress | None,
) -> Scan:
    """Read the files once and return their vocabulary and sizes.

    vocab_size: the number of symbols of a vocabulary of words; None for all words.
    spell_below: the share of the text below which a character is spelled: see spelling.py.
    base_vocab: a vocabulary whose symbols are added to those of the files. Characters that it
        spells stay spelled, and no others are.

    Raises CharlstmError for a text that is too small, and for too many distinct words.
    """
    if texts.level == "word":
        return _scan_words(texts, vocab_size, base_vocab, progress)
    return _scan_characters(texts, spell_below, base_vocab, progress)


def _scan_characters(
    texts: TextFiles,
    spell_below: float,
    base_vocab: Vocab | None,
    progress: ReadingProgress | None,
) -> Scan:
    """Return the scan at level "char" or "byte"."""
    beyond = [CharacterCounts() for _ in texts.files]  # all but ASCII characters
    known_ascii = b""  # the ASCII characters found so far
    counts = np.zeros(len(texts.files), np.int64)  # numbers of symbols
    size, changed = 0, list[int]()
    for number, text in texts.chunks("scanning", progress, changed.append):
        counts[number] += len(text)
        if texts.level == "byte":
            size += len(text)
            continue
        data = text.encode("utf-8", "surrogatepass")
        size += len(data)
        # Most characters are known ASCII characters. Deleting all known ASCII characters is much
        # faster than looking up the code point of each character.
        rest = data.translate(None, known_ascii)
        if rest:
            codes = code_points(rest.decode("utf-8", "surrogatepass"))
            known_ascii = bytes({*known_ascii, *codes[codes < FIRST_BYTE].tolist()})
            beyond[number].add(codes[codes >= FIRST_BYTE])
    _refuse_too_small(texts, counts)
    if texts.level == "byte":
        return Scan(Vocab.bytes(), counts, size, sum(changed))
    everywhere = CharacterCounts.sum_of(beyond)
    characters = [*map(chr, known_ascii), *map(chr, everywhere.codes.tolist())]
    if base_vocab is not None:
        vocab = base_vocab.extended(base_vocab.lacking(characters))
    elif len(characters) < 2:
        raise CharlstmError(
            f"{texts.files[0]}: too small to learn from: {characters[0]!r} is its only character, "
            "at least 2 distinct ones are needed"
        )
    else:
        rare = set(map(chr, to_spell(everywhere, spell_below * int(counts.sum())).tolist()))
        vocab = Vocab.from_characters((c for c in characters if c not in rare), "".join(rare))
    counts += [_further_symbols(vocab, each) for each in beyond]
    return Scan(vocab, counts, size, sum(changed))


def _further_symbols(vocab: Vocab, counts: CharacterCounts) -> int:
    """Return by how much the symbols of a text are more than its characters, of which some are
    spelled as several bytes."""
    continues = vocab.continues(vocab.encode_codes(counts.codes))
    characters = np.cumsum(~continues) - 1  # the place in counts of each symbol's character
    return int(counts.numbers[characters[continues]].sum())


def _scan_words(
    texts: TextFiles,
    vocab_size: int | None,
    base_vocab: Vocab | None,
    progress: ReadingProgress | None,
) -> Scan:
    """Return the scan at level "word".

    Its vocabulary has the most frequent words of the text and all words of `base_vocab`.
    """
    found = WordCounts()
    counts = np.zeros(len(texts.files), np.int64)  # numbers of symbols
    changed = list[int]()
    for number, words in words_of(texts, "scanning", progress, changed.append):
        counts[number] += len(words)
        found.add(words)
        if vocab_size is None and (found.forgotten or len(found.counts) > MAX_SYMBOLS):
            raise CharlstmError(
                f"{texts.files[0]}: more distinct words than a vocabulary may have "
                f"({MAX_SYMBOLS:,}): take the most frequent ones with `vocab_size`"
            )
    _refuse_too_small(texts, counts)
    found.finish()
    for always_known in (LINE_END, UNKNOWN_WORD):
        del found.counts[always_known]
    chosen = found.most_frequent(None if vocab_size is None else vocab_size - 2)
    if (characters := sum(map(len, chosen))) > MAX_CHARACTERS_OF_WORDS:
        raise CharlstmError(
            f"{texts.files[0]}: the distinct words have {characters:,} characters in total, but a "
            f"vocabulary may have at most {MAX_CHARACTERS_OF_WORDS:,}: take fewer words with "
            "`vocab_size`"
        )
    if max(map(len, chosen), default=0) > MAX_WORD_CHARACTERS:
        _refuse_long_word(texts, progress)
    vocab = Vocab.from_words(chosen)
    if base_vocab is not None:
        vocab = base_vocab.union(vocab)
    return Scan(vocab, counts, found.bytes, sum(changed))


def _refuse_long_word(texts: TextFiles, progress: ReadingProgress | None) -> None:
    """Raise CharlstmError for the first word that is too long for a vocabulary."""
    for number, words in words_of(texts, "scanning", progress):
        if (length := max(map(len, words), default=0)) > MAX_WORD_CHARACTERS:
            raise CharlstmError(
                f"{texts.files[number]}: a word has {length:,} characters, but may have at most "
                f"{MAX_WORD_CHARACTERS:,}: learn characters or bytes of this text, with "
                '`level="char"` or `level="byte"`'
            )


def words_of(
    texts: TextFiles,
    stage: str,
    progress: ReadingProgress | None,
    changed: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, list[str]]]:
    """Yield the words of the files in order, as pairs (number of the file from 0, words).

    A word at the end of a file does not continue in the next file.

    stage, progress, changed: arguments of TextFiles.chunks.
    """
    chunks = texts.chunks(stage, progress, changed)
    for number, group in groupby(chunks, key=lambda chunk: chunk[0]):
        yield from ((number, words) for words in split_chunks(text for _, text in group))


def _refuse_too_small(texts: TextFiles, counts: Ids) -> None:
    """Raise CharlstmError for fewer than 2 symbols in the training or in the validation files.

    Without validation files, only the training files are checked.

    counts: (files,) the number of symbols of each file.
    """
    border = texts.train_files
    for part, purpose in (
        (slice(border), "to learn from"),
        (slice(border, None), "for validation"),
    ):
        files, symbols = texts.files[part], int(counts[part].sum())
        if files and symbols < 2:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            raise CharlstmError(
                f"{files[0]}{more}: too small {purpose}: {symbols} {unit_of(texts.level)}s, "
                "at least 2 are needed"
            )
