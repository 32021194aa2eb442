"""Numbers, times and losses in words for people, and lines that fit into a terminal."""

import math
import textwrap
from collections.abc import Sequence

SEPARATOR = "  "  # stands between two fields of a progress bar


def counted(number: int | str, noun: str, plural: str = "") -> str:
    """Return a number with its noun in the singular or the plural: "1 step", "2,000 steps".

    number: the number, or its text, such as "about 300". plural: by default the noun with an s.
    """
    shown = number if isinstance(number, str) else f"{number:,}"
    return f"{shown} {noun if shown == '1' else plural or noun + 's'}"


def rounded(number: float, digits: int = 2) -> str:
    """Return a number with this many significant digits, without an exponent: "4,300", "0.12"."""
    if not number:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(number)))
    text = f"{round(number, places):,.{max(0, places)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def size_in_words(size: int) -> str:
    """Return a number of bytes in the unit that suits it: "83 bytes", "12.4 kB", "1.4 MB"."""
    exponent, unit = unit_of_size(size)
    return f"{size / 1000**exponent:,.1f} {unit}" if exponent else counted(size, "byte")


def unit_of_size(size: float) -> tuple[int, str]:
    """Return the unit that suits a number of bytes, as a power of 1,000 and its name."""
    exponent = next((n for n in (3, 2, 1) if size >= 1000**n), 0)
    return exponent, ("bytes", "kB", "MB", "GB")[exponent]


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it: "50 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def in_bits(loss: float, unit: str, digits: int = 3) -> str:
    """Return a loss, given in nats, in bits: "2.021 bits per character"."""
    return f"{loss / math.log(2):.{digits}f} bits per {unit}"


def in_nats_and_bits(loss: float, unit: str) -> str:
    """Return a loss, given in nats, in nats and bits: "1.4012 nats (2.0215 bits) per character"."""
    return f"{loss:.4f} nats ({loss / math.log(2):.4f} bits) per {unit}"


def wrapped(text: str, columns: int | None, indent: str = "", first: str = "") -> str:
    """Break a text at spaces into lines of at most `columns` characters, without breaking words.

    A word that is longer than `columns` stands in a longer line of its own.

    columns: None leaves the text in one line.
    indent: the text before each line but the first. first: the text before the first line.
    """
    if columns is None:
        return first + text if text else ""
    lines = textwrap.wrap(
        text,
        columns,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def fitted(fields: Sequence[tuple[int, str]], columns: int) -> str:
    """Return fields in one line. The least important ones are left out until the line fits.

    fields: pairs (rank, text) in the order of the line. The field of rank 0 matters most: it stays.
    """
    kept = [(rank, text) for rank, text in fields if text]
    while len(kept) > 1 and len(SEPARATOR.join(text for _, text in kept)) > columns:
        kept.remove(max(kept))
    return SEPARATOR.join(text for _, text in kept)


def option_words(name: str, value: object, option: str | None = None) -> list[str]:
    """Return the words of the command line that give an argument of the library a value.

    `lr=0.1` becomes --lr 0.1, `lines=True` --lines, and `lines=False` --no-lines.

    option: the option of the argument, such as "-r"; None: its name with two dashes.
    """
    dashed = name.replace("_", "-")
    if value is False:
        option, dashed = None, f"no-{dashed}"
    words = [option or f"--{dashed}"]
    return words if isinstance(value, bool) else [*words, str(value)]
