"""Numbers out of the JSON records of a saved run, which may be anyone's: each within its bounds."""

from collections.abc import Mapping
from typing import Any

from charlstm.errors import CharlstmError

LARGEST_INTEGER = 1 << 53  # beyond this, floats no longer hold every whole number
LARGEST_REAL = 1e300  # leaves room to calculate

# What comes of a record in which anything may stand.
MALFORMED_ERRORS = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


def integer(
    record: Mapping[str, Any], name: str, least: int = 0, most: int = LARGEST_INTEGER
) -> int:
    """The whole number of that name; CharlstmError if it is anything else or out of bounds."""
    value = record[name]
    if type(value) is not int or not least <= value <= most:
        raise CharlstmError(f"{name} must be whole, of {least} to {most}, not {value!r:.60}")
    return value


def real(
    record: Mapping[str, Any], name: str, least: float = -LARGEST_REAL, most: float = LARGEST_REAL
) -> float:
    """The number of that name, whole or not; CharlstmError if it is anything else."""
    return real_value(name, record[name], least, most)


def real_value(
    name: str, value: Any, least: float = -LARGEST_REAL, most: float = LARGEST_REAL
) -> float:
    """A value as a number; CharlstmError if it is none or out of bounds, as NaN is of any."""
    if type(value) not in (int, float) or not least <= value <= most:
        raise CharlstmError(f"{name} must be a number, {least:g} to {most:g}, not {value!r:.60}")
    return float(value)
