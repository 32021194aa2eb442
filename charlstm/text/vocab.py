"""Text to ids and back: the characters of a text, the bytes of its UTF-8 form, or its words."""

import codecs
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from operator import lt
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.arrays import Ids
from charlstm.errors import CharlstmError
from charlstm.text.words import LINE_END, UNKNOWN_WORD, space_between, split_words

LEVELS = ("char", "byte", "word")
UNKNOWN = ("error", "skip", "replace")  # what to do with a character that has no id

MAX_WORD = 1 << 20  # characters
MAX_SYMBOLS = 0x110000  # as many as there are characters

# Shown for each byte: itself where it is ASCII, else its escape, such as \xe9.
BYTE_SYMBOLS = tuple(chr(b) if b < 0x80 else f"\\x{b:02x}" for b in range(256))

# Characters that stand for one another: an unknown one becomes the first of its row that is known.
LOOKALIKES = (
    "'’‘‛′ʹʼ‚`´",
    '"”“‟″„«»',
    "-‐‑‒–—―−",
    "\n\u2028\u2029\x85",
    "/⁄∕",
    "•*·",
)
# Letters and signs that Unicode's compatibility decomposition leaves alone, or takes too far.
SPELLINGS = {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O"}
SPELLINGS |= {"đ": "d", "Đ": "D", "ł": "l", "Ł": "L", "ı": "i", "þ": "th", "Þ": "Th", "×": "x"}


def code_points(text: str) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint32]:
    """Return the code points of `text`, one for each character; uint8 if all of it is ASCII."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # halves of surrogate pairs that stand for no byte
        return text.encode("utf-8", "surrogatepass")


def _without_marks(text: str) -> str:
    """Return `text` with ligatures and the like spelled out and accents dropped."""
    spelled = "".join(SPELLINGS.get(character, character) for character in text)
    parts = unicodedata.normalize("NFKD", spelled)
    return "".join(part for part in parts if not _is_invisible(part))


def _is_invisible(character: str) -> bool:
    """Tell marks on the character before, joiners, byte-order marks, and the half of \\r\\n."""
    category = unicodedata.category(character)
    return category.startswith("M") or category == "Cf" or character == "\r"


@dataclass(frozen=True)
class Vocab:
    """What ids stand for: id k is `symbols[k]`. Immutable.

    At level "char" the symbols are two or more characters in code-point order; at level "byte"
    they are names of the 256 byte values, so that no text holds anything unknown; at level "word"
    they are words, marks and the line end, sorted, and U+FFFD for all other words.
    """

    level: str
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise CharlstmError(f"vocabulary: unknown level {self.level!r}")
        if self.level == "byte":
            if self.symbols != BYTE_SYMBOLS:
                raise CharlstmError("vocabulary: level byte has exactly the 256 byte values")
            return
        if self.level == "word":
            self._check_words()
            return
        if self._lengths() - {1}:
            raise CharlstmError("vocabulary: each symbol must be a single character")
        if len(self.symbols) < 2:
            raise CharlstmError(
                f"too small to learn from: {len(self.symbols)} distinct characters, "
                "at least 2 are needed"
            )
        # Strictly ascending code points also bound the length at 0x110000.
        if not all(map(lt, self.symbols, self.symbols[1:])):
            raise CharlstmError("vocabulary: characters must be in strict code-point order")

    @classmethod
    def from_text(cls, text: str) -> "Vocab":
        """Return the vocabulary of exactly the distinct characters of `text`.

        Raises CharlstmError if there are fewer than 2.
        """
        return cls.from_characters(text)

    @classmethod
    def from_characters(cls, characters: Iterable[str]) -> "Vocab":
        """Return the vocabulary of the distinct ones of `characters`, in any order.

        Raises CharlstmError if there are fewer than 2, or one is not a single character.
        """
        return cls("char", tuple(sorted(set(characters))))

    @classmethod
    def bytes(cls) -> "Vocab":
        """Return the vocabulary of the 256 byte values."""
        return cls("byte", BYTE_SYMBOLS)

    @classmethod
    def from_words(cls, words: Iterable[str]) -> "Vocab":
        """Return the vocabulary of these words, the line end and the one unknown word, sorted."""
        return cls("word", tuple(sorted({*words, LINE_END, UNKNOWN_WORD})))

    def _check_words(self) -> None:
        if len(self) > MAX_SYMBOLS:
            raise CharlstmError(
                f"vocabulary: {len(self):,} words, at most {MAX_SYMBOLS:,} are kept"
            )
        lengths = self._lengths()
        if not lengths or min(lengths) < 1 or max(lengths) > MAX_WORD:
            raise CharlstmError(f"vocabulary: each word must have 1 to {MAX_WORD} characters")
        if not all(map(lt, self.symbols, self.symbols[1:])):
            raise CharlstmError("vocabulary: words must be in strict order")
        if LINE_END not in self.symbols or UNKNOWN_WORD not in self.symbols:
            raise CharlstmError("vocabulary: the line end or the unknown word is missing")

    def _lengths(self) -> set[int]:
        """The lengths that symbols have."""
        # without a loop in Python: a file may have a million
        if set(map(type, self.symbols)) - {str}:
            raise CharlstmError("vocabulary: each symbol must be a text")
        return set(map(len, self.symbols))

    @property
    def unit(self) -> str:
        """What one symbol is: "character", "byte" or "word"."""
        return {"char": "character"}.get(self.level, self.level)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: id_ for id_, symbol in enumerate(self.symbols)}

    def encode_words(self, words: Iterable[str]) -> Ids:
        """Return the ids of words, of type `dtype`; level "word" only. An unknown word has one."""
        ids, unknown = self._ids, self._ids[UNKNOWN_WORD]
        return np.array([ids.get(word, unknown) for word in words], self.dtype)

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def characters(self) -> str:
        """All characters in the order of their ids; level "char" only, else CharlstmError."""
        if self.level != "char":
            raise CharlstmError(f"a vocabulary of level {self.level} has no characters")
        return "".join(self.symbols)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest of uint8, uint16 and uint32 that holds every id."""
        return np.min_scalar_type(len(self) - 1)

    @cached_property
    def _codes(self) -> npt.NDArray[np.int32]:
        """(V,) the code point of each id."""
        return code_points("".join(self.symbols)).astype(np.int32)

    @cached_property
    def _table(self) -> npt.NDArray[np.int32]:
        """(last code + 2,) the id of each code point, -1 where there is none, as at the end."""
        table = np.full(self._codes[-1] + 2, -1, np.int32)
        table[self._codes] = np.arange(len(self))
        return table

    def _lookup(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Return the id of each code point, -1 where it is unknown."""
        # Clipping sends every code beyond the table to its last entry, which is -1.
        return self._table.take(codes, mode="clip")

    def union(self, other: "Vocab") -> "Vocab":
        """Return the vocabulary of the symbols of both; CharlstmError if their levels differ."""
        if self.level != other.level:
            raise CharlstmError(
                f"a vocabulary of level {self.level} cannot be extended by one of level "
                f"{other.level}: use --level {self.level} for both"
            )
        if self.level == "byte":
            return self
        if self.level == "word":
            return Vocab.from_words(self.symbols + other.symbols)
        return Vocab.from_characters(self.symbols + other.symbols)

    def encode(self, text: str, unknown: str = "error") -> Ids:
        """Return the ids of `text`, 1-D, of type `dtype`.

        unknown: "error" raises CharlstmError at the first character that is not in the
        vocabulary, "skip" leaves such characters out, "replace" takes `replacements(text)`.

        At level "byte" these are the bytes of its UTF-8; bytes that are none are "\\udc80" to
        "\\udcff" in the text, as Python has them in names of files (PEP 383).
        """
        if unknown not in UNKNOWN:
            raise CharlstmError(f"--unknown must be error, skip or replace, not {unknown!r}")
        if self.level == "byte":
            return np.frombuffer(_utf8(text), np.uint8)
        if self.level == "word":
            return self.encode_words(split_words(text))
        ids = self._lookup(code_points(text))
        if (ids < 0).any():
            if unknown == "error":
                position = int(np.argmax(ids < 0))
                character = text[position]
                raise CharlstmError(
                    f"the vocabulary has no {character!r} (U+{ord(character):04X}), found at "
                    f"position {position}: --unknown skip leaves such characters out, "
                    "--unknown replace takes the nearest known ones"
                )
            if unknown == "skip":
                ids = ids[ids >= 0]
            else:
                nearest = {ord(old): new for old, new in self.replacements(text).items()}
                ids = self._lookup(code_points(text.translate(nearest)))
        return ids.astype(self.dtype)

    def encode_codes(self, codes: npt.NDArray[Any]) -> Ids:
        """Return the ids of code points that are all known, of type `dtype`; level "char" only.

        Raises RuntimeError if one is unknown: the vocabulary was not made from this text.
        """
        ids = self._lookup(codes)
        if ids.size and ids.min() < 0:
            raise RuntimeError(f"code point {codes[np.argmin(ids)]} is not in the vocabulary")
        return ids.astype(self.dtype)

    def replacements(self, text: str) -> dict[str, str]:
        """Return what each unknown character of `text` becomes under unknown="replace".

        A value is one or more known characters: the same without accents or with ligatures
        spelled out, in the other case, or a look-alike; failing those a space, or "" (left out)
        where there is no space or the character is invisible.
        """
        if self.level != "char":
            return {}
        unknown = code_points(text)[self._lookup(code_points(text)) < 0]
        return {character: self._nearest(character) for character in map(chr, np.unique(unknown))}

    def _nearest(self, character: str) -> str:
        if _is_invisible(character):
            return ""
        plain = _without_marks(character)
        # The character itself first: decomposition would make a space of an acute accent.
        for form in (character, plain, character.swapcase(), plain.swapcase()):
            similar = "".join(self._lookalike(part) for part in form)
            if similar and self._knows(similar):
                return similar
        return " " if self._knows(" ") else ""

    def _lookalike(self, character: str) -> str:
        if self._knows(character):
            return character
        for row in LOOKALIKES:
            if character in row:
                return next((other for other in row if self._knows(other)), character)
        return character

    def _knows(self, text: str) -> bool:
        return bool((self._lookup(code_points(text)) >= 0).all())

    def decode(self, ids: npt.ArrayLike) -> str:
        """Return the text of 1-D `ids`; raises IndexError if one is outside the vocabulary.

        At level "byte", what is not valid UTF-8 becomes U+FFFD.
        """
        if self.level == "word":
            decoder = self.decoder()
            return "".join(decoder.feed(int(id_)) for id_ in np.asarray(ids))
        values = self._codes_of(ids)
        if self.level == "byte":
            return values.astype(np.uint8).tobytes().decode("utf-8", "replace")
        return values.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    def _codes_of(self, ids: npt.ArrayLike) -> npt.NDArray[Any]:
        wide = np.asarray(ids, np.int64)
        if wide.size and not 0 <= wide.min() <= wide.max() < len(self):
            raise IndexError(f"ids must be from 0 to {len(self) - 1}")
        return wide if self.level == "byte" else self._codes[wide]

    def decoder(self) -> "Decoder":
        """Return a fresh decoder for ids that arrive one at a time."""
        return Decoder(self)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict: {"level": ..., "symbols": [...]} or {"level": "byte"}."""
        if self.level == "byte":
            return {"level": "byte"}
        # A list, not one string: there JSON would join the halves of a split surrogate pair.
        return {"level": self.level, "symbols": list(self.symbols)}

    @classmethod
    def from_dict(cls, obj: object) -> "Vocab":
        """Return the vocabulary that `to_json` wrote; CharlstmError for anything else."""
        if not isinstance(obj, dict):
            raise CharlstmError("vocabulary: not a JSON object")
        level = obj.get("level")
        if level == "byte" and set(obj) == {"level"}:
            return cls.bytes()
        symbols = obj.get("symbols")
        if (
            level not in ("char", "word")
            or set(obj) != {"level", "symbols"}
            or not isinstance(symbols, list)
        ):
            raise CharlstmError("vocabulary: unknown level or form")
        return cls(level, tuple(symbols))


class Decoder:
    """Turns ids into text one at a time, never showing half a character."""

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._previous = ""  # word

    def feed(self, id: int) -> str:
        """Return the text that `id` completes: "" inside a multi-byte character (level "byte")."""
        if self._vocab.level == "byte":
            return self._utf8.decode(bytes([id]))
        symbol = self._vocab.symbols[id]
        if self._vocab.level == "char":
            return symbol
        space, self._previous = space_between(self._previous, symbol), symbol
        return space + symbol

    def finish(self) -> str:
        """Return what is still pending: U+FFFD for a character that was cut off, else ""."""
        return self._utf8.decode(b"", final=True)


def start_ids(vocab: Vocab) -> Ids:
    """What a text without a beginning follows: a line end, where the model knows one."""
    return vocab.encode("\n", unknown="skip")


def line_end(vocab: Vocab) -> int:
    """The id of the line end; CharlstmError if the vocabulary has none."""
    ids = start_ids(vocab)
    if len(ids) == 0:
        raise CharlstmError("--lines needs a text with line ends: this one has none")
    return int(ids[0])
