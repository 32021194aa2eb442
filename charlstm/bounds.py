"""Numbers out of the JSON records of a saved run, which may be anyone's: each within its bounds."""

from collections.abc import Mapping
from typing import Any

from .errors import CharlstmError

MOST = 1 << 53  # beyond this, floats no longer hold every whole number
LARGEST = 1e300  # leaves room to calculate

# What comes of a record in which anything may stand.
HOSTILE = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


def whole(record: Mapping[str, Any], name: str, least: int = 0, most: int = MOST) -> int:
    """The whole number of that name; CharlstmError if it is anything else or out of bounds."""
    value = record[name]
    if type(value) is not int or not least <= value <= most:
        raise CharlstmError(f"{name} must be whole, of {least} to {most}, not {value!r:.60}")
    return value


def number(
    record: Mapping[str, Any], name: str, least: float = -LARGEST, most: float = LARGEST
) -> float:
    """The number of that name, whole or not; CharlstmError if it is anything else."""
    return checked_number(name, record[name], least, most)


def checked_number(name: str, value: Any, least: float = -LARGEST, most: float = LARGEST) -> float:
    """A value as a number; CharlstmError if it is none or out of bounds, as NaN is of any."""
    if type(value) not in (int, float) or not least <= value <= most:
        raise CharlstmError(f"{name} must be a number, {least:g} to {most:g}, not {value!r:.60}")
    return float(value)
