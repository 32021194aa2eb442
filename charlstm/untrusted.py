"""Checks of numbers from outside: those in the JSON of a saved run, and arguments of functions."""

from collections.abc import Mapping
from operator import index
from typing import Any

from charlstm.errors import CharlstmError

# Default bounds of integers and of real numbers. Floats represent all integers up to 2^53 exactly.
# Numbers up to 1e300 can be added, or multiplied by small numbers, without overflow.
LARGEST_INTEGER, LARGEST_REAL = 2**53, 1e300

# The exceptions that code may raise when it reads malformed data: because of a missing name, a
# wrong type, or a value out of range.
MALFORMED_ERRORS = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


def integer(
    record: Mapping[str, Any], name: str, least: int = 0, most: int = LARGEST_INTEGER
) -> int:
    """Return record[name]; CharlstmError if it is not a whole number from `least` to `most`."""
    value = record[name]
    if type(value) is not int or not least <= value <= most:
        raise CharlstmError(
            f"{name} must be a whole number from {least} to {most}, not {value!r:.60}"
        )
    return value


def real(
    record: Mapping[str, Any], name: str, least: float = -LARGEST_REAL, most: float = LARGEST_REAL
) -> float:
    """Return record[name] as a float; CharlstmError if not a number from `least` to `most`."""
    return real_value(name, record[name], least, most)


def real_value(
    name: str, value: Any, least: float = -LARGEST_REAL, most: float = LARGEST_REAL
) -> float:
    """Return a value as a float; CharlstmError if it is not a number from `least` to `most`.

    NaN is refused too. name: the name of the value, for the message.
    """
    if type(value) not in (int, float) or not least <= value <= most:
        raise CharlstmError(
            f"{name} must be a number from {least:g} to {most:g}, not {value!r:.60}"
        )
    return float(value)


def whole_number(name: str, value: Any) -> int:
    """Return an argument as an int; CharlstmError if it is not a whole number.

    Integers of NumPy's types are accepted too. name: the name of the argument, for the message.
    """
    try:
        return index(value)
    except TypeError:
        raise CharlstmError(f"{name} must be a whole number, not {value!r:.60}") from None
