"""Look-alikes: the known characters to read in place of a character that a vocabulary lacks."""

import unicodedata
from collections.abc import Container

# Rows of characters that look alike. An unknown character is read as the first known character of
# its row.
LOOKALIKES = (
    "'’‘‛′ʹʼ‚`´",
    '"”“‟″„«»',
    "-‐‑‒–—―−",
    "\n\u2028\u2029\x85",
    "/⁄∕",
    "•*·",
)
# Spellings of letters and signs that Unicode's compatibility decomposition (NFKD) leaves unchanged.
SPELLINGS = {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O"}
SPELLINGS |= {"đ": "d", "Đ": "D", "ł": "l", "Ł": "L", "ı": "i", "þ": "th", "Þ": "Th", "×": "x"}


def nearest_known(character: str, known: Container[str]) -> str:
    """Return the known characters that come nearest to an unknown character, as a string.

    These forms are tried in order: a look-alike; the character without accents, or with its
    ligature spelled out; the same forms in the other case. If none of them is known, the result is
    a space, or "" if the space is unknown too. For an invisible character the result is "".
    """
    if _is_invisible(character):
        return ""
    plain = _without_marks(character)
    # The character itself is tried before its decomposition, which may be less like it: an acute
    # accent that stands alone, for example, is decomposed into a space.
    for form in (character, plain, character.swapcase(), plain.swapcase()):
        similar = [_lookalike(each, known) for each in form]
        if similar and all(each in known for each in similar):
            return "".join(similar)
    return " " if " " in known else ""


def _lookalike(character: str, known: Container[str]) -> str:
    """Return a known character that looks like this one, or the character itself."""
    if character in known:
        return character
    for row in LOOKALIKES:
        if character in row:
            return next((other for other in row if other in known), character)
    return character


def _without_marks(text: str) -> str:
    """Return `text` with ligatures spelled out and accents dropped."""
    spelled = "".join(SPELLINGS.get(character, character) for character in text)
    decomposed = unicodedata.normalize("NFKD", spelled)
    return "".join(each for each in decomposed if not _is_invisible(each))


def _is_invisible(character: str) -> bool:
    """Whether a character is an accent, a joiner, a byte-order mark or a carriage return."""
    category = unicodedata.category(character)
    return category.startswith("M") or category == "Cf" or character == "\r"
