"""Vocab: the symbols of a text and their ids, at level "char", "byte" or "word".

A vocabulary turns text into ids and ids back into text.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from operator import lt
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from charlstm.arrays import Ids, checked_ids
from charlstm.config import Level
from charlstm.errors import ArgumentError, CharlstmError, shown
from charlstm.system.wording import counted
from charlstm.text.decoder import Decoder, DecodingErrors, require_decoding_errors
from charlstm.text.lookalikes import nearest_known
from charlstm.text.spelling import (
    FIRST_BYTE,
    byte_symbol,
    bytes_of,
    is_surrogate,
    utf8,
)
from charlstm.text.words import LINE_END, UNKNOWN_WORD, split_words
from charlstm.untrusted import require_choice, require_type, whole_number

LEVELS: tuple[str, ...] = get_args(Level)
UnknownTreatment = Literal["error", "skip", "replace"]  # how to treat a character without an id
UNKNOWN_CHOICES: tuple[str, ...] = get_args(UnknownTreatment)

MAX_WORD_CHARACTERS = 1 << 20
BLOCK_IDS = 1 << 20  # ids that are processed at a time, to limit the memory
REPR_SYMBOLS = 5  # symbols that repr shows
MAX_SYMBOLS = 0x110000  # the number of Unicode code points

# Names of the 256 byte values: an ASCII character, or for 128 and above an escape such as \xe9.
BYTE_SYMBOLS = tuple(chr(b) if b < FIRST_BYTE else byte_symbol(b) for b in range(256))


def unit_of(level: str) -> str:
    """Return the name of one symbol at a level, for messages: "character", "byte" or "word"."""
    return "character" if level == "char" else level


def code_points(text: str) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint32]:
    """Return the code point of each character of `text`: as uint8 if all are ASCII, else uint32."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # The text has lone surrogates that do not stand for bytes.
        return text.encode("utf-8", "surrogatepass")


def _distinct(name: str, strings: Iterable[str]) -> dict[str, None]:
    """Return the distinct strings of an argument in their order; CharlstmError for other things.

    dict.fromkeys keeps the order. Sorting is much faster if the strings are in order already.
    """
    try:
        found = dict.fromkeys(strings)
    except TypeError as error:  # not iterable, or of values that cannot be in a dictionary
        raise ArgumentError(f"`{name}` must be strings, not {shown(strings)}") from error
    if others := [each for each in found if not isinstance(each, str)]:
        raise ArgumentError(f"`{name}` must be strings, not {shown(others[0])}")
    return found


def _refuse_string(name: str, words: Iterable[str]) -> None:
    """Raise CharlstmError for a string, whose characters would otherwise count as words."""
    if isinstance(words, str):
        raise ArgumentError(
            f"`{name}` must be a collection of words, not the string {shown(words)}"
        )


@dataclass(frozen=True)
class Vocab:
    """A vocabulary: id k stands for `symbols[k]`. Immutable.

    Level "char": the symbols are two or more characters, in code-point order. Names of bytes may
        follow, such as \\xe9, in ascending order: these bytes spell characters that are no symbols
        of their own, in UTF-8.
    Level "byte": the symbols are names of the 256 byte values, so that every text can be encoded.
    Level "word": the symbols are words, punctuation marks, the line end, and U+FFFD, which stands
    for all other words. The symbols are in ascending order.
    """

    level: str
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        require_type("symbols", self.symbols, tuple)
        if not isinstance(self.level, str) or self.level not in LEVELS:
            raise CharlstmError(
                f"vocabulary: level must be {', '.join(LEVELS)}, not {shown(self.level)}"
            )
        if self.level == "char":
            self._check_characters()
        elif self.level == "word":
            self._check_words()
        elif self.symbols != BYTE_SYMBOLS:
            raise CharlstmError("vocabulary: level byte must have the 256 byte values")

    def _check_characters(self) -> None:
        self._symbol_lengths()
        characters, bytes_ = self.symbols[: self._characters], self.symbols[self._characters :]
        if set(map(len, characters)) - {1} or not set(bytes_) <= set(BYTE_SYMBOLS[FIRST_BYTE:]):
            raise CharlstmError("vocabulary: each symbol must be a single character")
        if len(self.symbols) < 2:
            raise CharlstmError(
                "the text is too small to learn from: "
                f"{counted(len(self.symbols), 'distinct character')}, at least 2 are needed"
            )
        # In strictly ascending order no character occurs twice. The number of characters is thus at
        # most 0x110000, the number of code points.
        for part in (characters, bytes_):
            if not all(map(lt, part, part[1:])):
                raise CharlstmError(
                    "vocabulary: characters must be in strictly ascending code-point order"
                )

    def _check_words(self) -> None:
        if len(self) > MAX_SYMBOLS:
            raise CharlstmError(
                f"vocabulary: {len(self):,} words, at most {MAX_SYMBOLS:,} are allowed"
            )
        lengths = self._symbol_lengths()
        if not lengths or min(lengths) < 1 or max(lengths) > MAX_WORD_CHARACTERS:
            raise CharlstmError(
                f"vocabulary: each word must have 1 to {MAX_WORD_CHARACTERS} characters"
            )
        if not all(map(lt, self.symbols, self.symbols[1:])):
            raise CharlstmError("vocabulary: words must be in strictly ascending order")
        if LINE_END not in self.symbols or UNKNOWN_WORD not in self.symbols:
            raise CharlstmError("vocabulary: the line end or the unknown word is missing")

    def _symbol_lengths(self) -> set[int]:
        """Return the distinct lengths of the symbols; CharlstmError if one is not a string."""
        # A vocabulary may have a million symbols, and `map` is faster than a loop in Python.
        if set(map(type, self.symbols)) - {str}:
            raise CharlstmError("vocabulary: each symbol must be a string")
        return set(map(len, self.symbols))

    @classmethod
    def from_text(cls, text: str) -> "Vocab":
        """Return the vocabulary of the distinct characters of `text`.

        Raises CharlstmError if `text` has fewer than 2 distinct characters.
        """
        require_type("text", text, str)
        return cls.from_characters(text)

    @classmethod
    def from_characters(cls, characters: Iterable[str], spelled: str = "") -> "Vocab":
        """Return the vocabulary of these characters, which may repeat and be in any order.

        spelled: further characters, which the vocabulary spells as bytes of UTF-8.

        Raises CharlstmError for fewer than 2 distinct characters, and for a string that is not a
        single character.
        """
        require_type("spelled", spelled, str)
        bytes_ = map(byte_symbol, bytes_of(code_points(spelled)).tolist())
        found = {**_distinct("characters", characters), **dict.fromkeys(bytes_)}
        return cls("char", tuple(sorted(found, key=lambda symbol: (len(symbol), symbol))))

    @classmethod
    def bytes(cls) -> "Vocab":
        """Return the vocabulary of the 256 byte values."""
        return cls("byte", BYTE_SYMBOLS)

    @classmethod
    def from_words(cls, words: Iterable[str]) -> "Vocab":
        """Return the vocabulary of these words, the line end and the unknown word."""
        _refuse_string("words", words)
        return cls("word", tuple(sorted({*_distinct("words", words), LINE_END, UNKNOWN_WORD})))

    def union(self, other: "Vocab") -> "Vocab":
        """Return the vocabulary of all symbols of both vocabularies.

        Raises CharlstmError if their levels differ.
        """
        require_type("other", other, Vocab)
        if self.level != other.level:
            raise CharlstmError(
                f"a vocabulary of level {self.level} cannot be extended by one of level "
                f"{other.level}: use level {self.level} for both"
            )
        return self.extended(other.symbols)

    def extended(self, symbols: Iterable[str]) -> "Vocab":
        """Return a vocabulary of all symbols of this vocabulary and `symbols`.

        A vocabulary of level "byte" is returned unchanged: it has all bytes already.
        """
        further = _distinct("symbols", symbols)
        if self.level == "byte":
            return self
        if self.level == "word":
            return Vocab.from_words((*self.symbols, *further))
        return Vocab.from_characters((*self.symbols, *further))

    @property
    def unit(self) -> str:
        """The name of one symbol in messages: "character", "byte" or "word"."""
        return unit_of(self.level)

    def count_characters(self, ids: Ids) -> int:
        """Return the number of characters that ids stand for at level "char", else their number.

        A byte that continues a spelled character is not counted.
        """
        ids = checked_ids("ids", ids, ("N",), len(self))
        if not self._continuing_bytes:
            return len(ids)
        blocks = (ids[k : k + BLOCK_IDS] for k in range(0, len(ids), BLOCK_IDS))
        return len(ids) - sum(int(self.continues(block).sum()) for block in blocks)

    def continues(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Return whether each id is a byte that continues a spelled character."""
        ids = checked_ids("ids", ids, ("N",), len(self))
        first = self._characters
        result: npt.NDArray[np.bool_] = (ids >= first) & (ids < first + self._continuing_bytes)
        return result

    @cached_property
    def _characters(self) -> int:
        """The number of characters among the symbols of level "char"; bytes follow them."""
        return bisect_left(self.symbols, 2, key=len)

    @cached_property
    def _continuing_bytes(self) -> int:
        """The number of bytes that continue a spelled character; they come first among bytes."""
        if self.level != "char":
            return 0
        return sum(symbol < byte_symbol(0xC0) for symbol in self.symbols[self._characters :])

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: id_ for id_, symbol in enumerate(self.symbols)}

    def encode_words(self, words: Iterable[str]) -> Ids:
        """Return the ids of words, of type `dtype`. For level "word" only.

        Words that the vocabulary lacks get the id of UNKNOWN_WORD.
        """
        if self.level != "word":
            raise CharlstmError(f"a vocabulary of level {self.level} has no words")
        _refuse_string("words", words)
        ids, unknown = self._ids, self._ids[UNKNOWN_WORD]
        try:
            return np.array([ids.get(word, unknown) for word in words], self.dtype)
        except TypeError as error:  # not iterable, or of values that cannot be in a dictionary
            raise ArgumentError(f"`words` must be strings, not {shown(words)}") from error

    def __len__(self) -> int:
        return len(self.symbols)

    def __repr__(self) -> str:
        first = ", ".join(map(repr, self.symbols[:REPR_SYMBOLS]))
        return f"Vocab({len(self):,} {self.unit}s: {first}{', ...' * (len(self) > REPR_SYMBOLS)})"

    @property
    def characters(self) -> str:
        """All characters in the order of their ids; CharlstmError if the level is not "char"."""
        if self.level != "char":
            raise CharlstmError(f"a vocabulary of level {self.level} has no characters")
        return "".join(self.symbols[: self._characters])

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest of uint8, uint16 and uint32 that holds every id."""
        return np.min_scalar_type(len(self) - 1)

    @cached_property
    def _codes(self) -> npt.NDArray[np.int32]:
        """Array: the code point of each character, by its id."""
        return code_points("".join(self.symbols[: self._characters])).astype(np.int32)

    @cached_property
    def _id_of_code(self) -> npt.NDArray[np.int32]:
        """Array with the id of code point c at index c; -1 if the vocabulary lacks c.

        Its length is the largest code point of the vocabulary + 2. The last element is always -1.
        """
        table = np.full(self._codes[-1] + 2, -1, np.int32)
        table[self._codes] = np.arange(len(self._codes))
        return table

    @cached_property
    def _id_of_byte(self) -> npt.NDArray[np.int32]:
        """Array (256,): the id of each byte that spells characters; -1 for other bytes."""
        table = np.full(256, -1, np.int32)
        for id_ in range(self._characters, len(self)):
            table[int(self.symbols[id_][2:], 16)] = id_
        return table

    def _ids_and_counts(self, codes: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int32], Ids]:
        """Return the ids of code points, and how many of them each code point has.

        A code point that is no symbol has the ids of the bytes that spell it, or the id -1 if the
        vocabulary lacks one of these bytes.
        """
        # mode="clip": a code point beyond the end of the table selects the last element, -1.
        ids = self._id_of_code.take(codes, mode="clip")
        counts = np.ones(len(ids), np.intp)
        may_spell = (ids < 0) & (codes >= FIRST_BYTE) & ~is_surrogate(codes)
        places = np.flatnonzero(may_spell) if self._characters < len(self) else np.empty(0, int)
        if not len(places):
            return ids, counts
        found, sizes = utf8(codes[places])
        spelled = self._id_of_byte[found]
        is_used = np.arange(found.shape[1]) < sizes[:, None]
        can_spell = ((spelled >= 0) | ~is_used).all(1)
        places, spelled, is_used = places[can_spell], spelled[can_spell], is_used[can_spell]
        counts[places] = sizes[can_spell]
        ids = np.repeat(ids, counts)
        starts = np.cumsum(counts) - counts
        of_bytes = starts[places, None] + np.arange(found.shape[1])
        ids[of_bytes[is_used]] = spelled[is_used]
        return ids, counts

    def lacking(self, characters: Iterable[str]) -> list[str]:
        """Return those of some characters that the vocabulary can neither encode nor spell."""
        distinct = "".join(_distinct("characters", characters))
        ids, counts = self._ids_and_counts(code_points(distinct))
        is_lacking = ids[np.cumsum(counts) - counts] < 0
        return [distinct[place] for place in np.flatnonzero(is_lacking)]

    def encode(self, text: str, unknown: UnknownTreatment = "error", offset: int = 0) -> Ids:
        """Return the ids of `text`, 1-D, of type `dtype`.

        unknown: "error" raises CharlstmError at the first character that is not in the
            vocabulary, "skip" leaves such characters out, "replace" applies `replacements(text)`.
        offset: position of `text` in a longer text. An error message adds the offset to the
            position of the unknown character in `text`.

        At level "byte" the ids are the bytes of the text in UTF-8. Characters "\\udc80" to
        "\\udcff" stand for bytes that are not valid UTF-8, as in Python's file names (PEP 383).
        """
        require_type("text", text, str)
        require_choice("unknown", unknown, UNKNOWN_CHOICES)
        offset = whole_number("offset", offset)
        if self.level == "byte":
            return np.frombuffer(_utf8(text), np.uint8)
        if self.level == "word":
            return self.encode_words(split_words(text))
        ids, _ = self._ids_and_counts(code_points(text))
        if (ids < 0).any():
            if unknown == "error":
                position = self.count_characters(ids[: np.argmax(ids < 0)])
                character = text[position]
                raise CharlstmError(
                    f"the vocabulary has no {character!r} (U+{ord(character):04X}), found at "
                    f"position {offset + position}: "
                    '`unknown="skip"` leaves such characters out, `unknown="replace"` takes the '
                    "nearest known ones"
                )
            if unknown == "skip":
                ids = ids[ids >= 0]
            else:
                nearest = {ord(old): new for old, new in self.replacements(text).items()}
                ids, _ = self._ids_and_counts(code_points(text.translate(nearest)))
        return ids.astype(self.dtype)

    def encode_codes(self, codes: npt.NDArray[Any]) -> Ids:
        """Return the ids of code points, of type `dtype`.

        For level "char" only. Raises CharlstmError for a code point that is not in the vocabulary.
        """
        if self.level != "char":
            raise CharlstmError(f"a vocabulary of level {self.level} has no characters")
        codes = checked_ids("codes", codes, ("N",), MAX_SYMBOLS)
        ids, _ = self._ids_and_counts(codes)
        if ids.size and ids.min() < 0:
            place = self.count_characters(ids[: np.argmin(ids)])
            raise CharlstmError(f"code point {codes[place]} is not in the vocabulary")
        return ids.astype(self.dtype)

    def replacements(self, text: str) -> dict[str, str]:
        """Return the replacement of each unknown character of `text`, for unknown="replace".

        A replacement is a string of known characters, or "" for a character to leave out: see
        `nearest_known`.
        """
        require_type("text", text, str)
        if self.level != "char":
            return {}
        return {each: nearest_known(each, self._ids) for each in self.lacking(text)}

    def decode(self, ids: npt.ArrayLike, errors: DecodingErrors = "replace") -> str:
        """Return the text of 1-D `ids`; CharlstmError if one is outside of the vocabulary.

        errors: at level "byte", the treatment of bytes that are not valid UTF-8. "replace" turns
            them into U+FFFD. "surrogateescape" turns them into "\\udc80" to "\\udcff", from which
            `encode` returns the original bytes.
        """
        require_decoding_errors(errors)
        values = checked_ids("ids", ids, ("N",), len(self))
        if self.level == "word" or (self.level == "char" and (values >= self._characters).any()):
            decoder = self.decoder(errors)
            return "".join(map(decoder.feed, values.tolist())) + decoder.finish()
        if self.level == "byte":
            return values.astype(np.uint8).tobytes().decode("utf-8", errors)
        return self._codes[values].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    def decoder(self, errors: DecodingErrors = "replace") -> Decoder:
        """Return a new decoder for ids that arrive one at a time. errors: as in `decode`."""
        return Decoder(self.level, self.symbols, errors)

    def to_dict(self) -> dict[str, Any]:
        """Return {"level": ..., "symbols": [...]} or {"level": "byte"}, for JSON."""
        if self.level == "byte":
            return {"level": "byte"}
        # The symbols are a list of strings. In a single string, two adjacent lone surrogates would
        # be read back from JSON as one character.
        return {"level": self.level, "symbols": list(self.symbols)}

    @classmethod
    def from_dict(cls, saved: object) -> "Vocab":
        """Return the vocabulary that to_dict wrote; CharlstmError for anything else."""
        if not isinstance(saved, dict):
            raise CharlstmError("vocabulary: must be a JSON object with a level")
        level, symbols = saved.get("level"), saved.get("symbols")
        if not isinstance(level, str):
            raise CharlstmError(f"vocabulary: the level must be a string, not {shown(level)}")
        if level == "byte" and set(saved) == {"level"}:
            return cls.bytes()
        if (
            level not in ("char", "word")
            or set(saved) != {"level", "symbols"}
            or not isinstance(symbols, list)
        ):
            raise CharlstmError(
                "vocabulary: must have a level (char, byte or word), and a list of symbols unless "
                "the level is byte"
            )
        return cls(level, tuple(symbols))


def start_ids(vocab: Vocab) -> Ids:
    """Return the ids that a model reads before the first symbol of a text.

    The result is the id of the line end, or empty if the vocabulary has no line end.
    """
    return vocab.encode(LINE_END, unknown="skip")


def line_end(vocab: Vocab) -> int:
    """Return the id of the line end; CharlstmError if the vocabulary has none."""
    ids = start_ids(vocab)
    if len(ids) == 0:
        raise CharlstmError("`lines=True` needs a text with line ends: this one has none")
    return int(ids[0])
