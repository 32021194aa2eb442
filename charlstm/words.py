"""Text to words and back: words, marks and line ends, without the spaces between them."""

import re
from collections.abc import Iterable, Iterator

UNKNOWN_WORD = "\ufffd"  # stands for every word outside the vocabulary
LINE_END = "\n"

# A word may have apostrophes and hyphens inside, and one apostrophe before it ('tis).
_TOKEN = re.compile(r"\n|['’]?[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]|_")
_LONGEST_CARRY = 1 << 20  # characters without a space that may be one word
_CLOSING = set(",.;:!?)]}%…”’'") | {LINE_END}
_OPENING = set("([{“‘") | {LINE_END}


def split_words(text: str) -> list[str]:
    """The words, marks and line ends of a text, in order."""
    return _TOKEN.findall(text)


def split_pieces(pieces: Iterable[str]) -> Iterator[list[str]]:
    """The words of a text that comes in pieces, which may end within a word."""
    carry = ""
    for piece in pieces:
        text = carry + piece
        # no word reaches over white space, so all up to the last of it is complete
        complete = max(text.rfind(space) for space in " \n\t") + 1
        if not complete and len(text) > _LONGEST_CARRY:
            complete = len(text)
        yield split_words(text[:complete])
        carry = text[complete:]
    yield split_words(carry)


def space_between(previous: str, word: str) -> str:
    """What stands between two words when they are written out: a space or nothing."""
    return "" if not previous or previous in _OPENING or word in _CLOSING else " "
