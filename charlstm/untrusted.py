"""Checks of numbers from elsewhere: JSON records of a saved run, and arguments of the library."""

from collections.abc import Mapping
from operator import index
from typing import Any

from charlstm.errors import CharlstmError

# Bounds of numbers without bounds of their own. Floats hold all whole numbers up to 2^53; real
# numbers up to 1e300 leave room to calculate.
LARGEST_INTEGER, LARGEST_REAL = 2**53, 1e300

# The errors that reading a malformed record may raise: for a missing name, a wrong type, or a value
# out of range.
MALFORMED_ERRORS = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


def integer(
    record: Mapping[str, Any], name: str, least: int = 0, most: int = LARGEST_INTEGER
) -> int:
    """Return the whole number record[name]; CharlstmError if it is not one within the bounds."""
    value = record[name]
    if type(value) is not int or not least <= value <= most:
        raise CharlstmError(
            f"{name} must be a whole number from {least} to {most}, not {value!r:.60}"
        )
    return value


def real(
    record: Mapping[str, Any], name: str, least: float = -LARGEST_REAL, most: float = LARGEST_REAL
) -> float:
    """Return the number record[name]; CharlstmError if it is not one within the bounds."""
    return real_value(name, record[name], least, most)


def real_value(
    name: str, value: Any, least: float = -LARGEST_REAL, most: float = LARGEST_REAL
) -> float:
    """Return a value as a float; CharlstmError if it is not a number within the bounds.

    NaN is not within any bounds. name: for the message.
    """
    if type(value) not in (int, float) or not least <= value <= most:
        raise CharlstmError(
            f"{name} must be a number from {least:g} to {most:g}, not {value!r:.60}"
        )
    return float(value)


def whole_number(name: str, value: Any) -> int:
    """Return an argument as an int, of NumPy's types too; CharlstmError if it is no whole number.

    name: for the message.
    """
    try:
        return index(value)
    except TypeError:
        raise CharlstmError(f"{name} must be a whole number, not {value!r:.60}") from None
