"""Spelling: rare characters as the bytes of their UTF-8 form, each of which is a symbol.

A text may have thousands of distinct characters that occur a few times each. As symbols of their
own, they would make the model slow and learn next to nothing. As bytes they share about a hundred
symbols, and the order of the bytes is easy to learn. ASCII characters are never spelled: they are
their own byte.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.arrays import Ids

FIRST_BYTE = 0x80  # bytes below are ASCII characters
LONGEST = 4  # bytes of a character in UTF-8
# A spelling that makes a vocabulary smaller by fewer symbols than this is not worth it.
LEAST_SAVING = 32


def byte_symbol(byte: int) -> str:
    """Return the name of a byte as a symbol of a vocabulary, such as \\xe9."""
    return f"\\x{byte:02x}"


def byte_named(symbol: str) -> int | None:
    """Return the byte whose name a symbol is, from 0x80 to 0xff; None for a character."""
    return int(symbol[2:], 16) if len(symbol) == 4 and symbol.startswith("\\x") else None


def utf8(codes: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.intp]]:
    """Return the bytes (N, 4) of code points in UTF-8, and the number of bytes of each (N,).

    Unused bytes are 0. Surrogates are encoded like other code points of their size.
    """
    codes = codes.astype(np.int64)
    sizes = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
    found = np.zeros((len(codes), LONGEST), np.uint8)
    for size, lead in ((1, 0), (2, 0xC0), (3, 0xE0), (4, 0xF0)):
        of_size = sizes == size
        rest = codes[of_size]
        for place in range(size - 1, 0, -1):
            found[of_size, place] = 0x80 | (rest & 0x3F)
            rest = rest >> 6
        found[of_size, 0] = lead | rest
    return found, sizes


class CharacterCounts:
    """How often each code point occurs in a text.

    codes (N,): the distinct code points, in ascending order. numbers (N,): how often each occurs.
    """

    def __init__(self) -> None:
        self.codes, self.numbers = np.empty(0, np.int32), np.empty(0, np.int64)

    def add(self, codes: npt.NDArray[Any]) -> None:
        """Count further code points."""
        if codes.size:
            self._merge(*np.unique(codes, return_counts=True))

    def _merge(self, codes: npt.NDArray[Any], numbers: Ids) -> None:
        """Add the numbers of distinct code points."""
        both = np.concatenate((self.codes, codes.astype(np.int32)))
        self.codes, places = np.unique(both, return_inverse=True)
        weights = np.concatenate((self.numbers, numbers))
        self.numbers = np.zeros(len(self.codes), np.int64)
        np.add.at(self.numbers, places, weights)

    @classmethod
    def sum_of(cls, parts: Iterable["CharacterCounts"]) -> "CharacterCounts":
        """Return the counts in several texts together."""
        total = cls()
        for part in parts:
            if part.codes.size:
                total._merge(part.codes, part.numbers)
        return total


def to_spell(counts: CharacterCounts, limit: float) -> npt.NDArray[np.int32]:
    """Return the code points to spell: those that occur less than `limit` times.

    The result is empty if the vocabulary would hardly become smaller.
    """
    codes = counts.codes
    is_rare = (counts.numbers < limit) & (codes >= FIRST_BYTE) & ~is_surrogate(codes)
    rare = codes[is_rare]
    return rare if len(rare) - len(bytes_of(rare)) >= LEAST_SAVING else rare[:0]


def bytes_of(codes: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the distinct bytes, in ascending order, that spell code points beyond ASCII."""
    found, _ = utf8(codes)
    return np.unique(found[found >= FIRST_BYTE])


def is_surrogate(codes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return whether each code point is half of a pair in UTF-16, which UTF-8 does not have."""
    result: npt.NDArray[np.bool_] = (codes >= 0xD800) & (codes < 0xE000)
    return result
