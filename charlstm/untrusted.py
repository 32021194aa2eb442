"""Checks of values from outside: those in the JSON of a saved run, and arguments of functions."""

from collections.abc import Collection, Iterable, Mapping
from operator import index
from typing import Any, TypeVar

from charlstm.errors import ArgumentError, CharlstmError, shown

Value = TypeVar("Value")

# Default bounds of integers and of real numbers. Floats represent all integers up to 2^53 exactly.
# Numbers up to 1e300 can be added, or multiplied by small numbers, without overflow.
LARGEST_INTEGER, LARGEST_REAL = 2**53, 1e300


def entry(record: Any, name: str) -> Any:
    """Return record[name]; CharlstmError if the record is no JSON object, or lacks the name."""
    if not isinstance(record, Mapping):
        raise CharlstmError(f"{name} must be in a JSON object, not in {shown(record)}")
    if name not in record:
        raise CharlstmError(f"{name} is missing")
    return record[name]


def of_type(kind: type[Value], record: Any, name: str) -> Value:
    """Return record[name]; CharlstmError unless its type is `kind`."""
    value = entry(record, name)
    if type(value) is not kind:
        raise CharlstmError(f"{name} must be of type {kind.__name__}, not {shown(value)}")
    return value


def integer(record: Any, name: str, least: int = 0, most: int = LARGEST_INTEGER) -> int:
    """Return record[name]; CharlstmError if it is not a whole number from `least` to `most`."""
    value = entry(record, name)
    if type(value) is not int or not least <= value <= most:
        raise CharlstmError(
            f"{name} must be a whole number from {least} to {most}, not {shown(value)}"
        )
    return value


def real(record: Any, name: str, least: float = -LARGEST_REAL, most: float = LARGEST_REAL) -> float:
    """Return record[name] as a float; CharlstmError if not a number from `least` to `most`."""
    return real_value(name, entry(record, name), least, most)


def real_value(
    name: str, value: Any, least: float = -LARGEST_REAL, most: float = LARGEST_REAL
) -> float:
    """Return a value as a float; CharlstmError if it is not a number from `least` to `most`.

    NaN is refused too. name: the name of the value, for the message.
    """
    if type(value) not in (int, float) or not least <= value <= most:
        raise ArgumentError(
            f"`{name}` must be a number from {least:g} to {most:g}, not {shown(value)}"
        )
    return float(value)


def require_type(name: str, value: object, *kinds: type) -> None:
    """Raise CharlstmError unless an argument is an instance of one of the types.

    name: the name of the argument, for the message.
    """
    if not isinstance(value, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ArgumentError(f"`{name}` must be of type {names}, not {shown(value)}")


def one_or_several(name: str, value: Any, *kinds: type) -> tuple[Any, ...]:
    """Return an argument, which may be one value of the types or several, as a tuple.

    Raises CharlstmError for a value of another type. name: the name of the argument.
    """
    is_single = not isinstance(value, Iterable) or isinstance(value, (bytes, *kinds))
    try:
        found = (value,) if is_single else tuple(value)
    except TypeError:  # for example, for an array without dimensions
        found = (value,)
    for each in found:
        require_type(name, each, *kinds)
    return found


def require_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise CharlstmError unless an argument is one of several strings.

    name: the name of the argument, for the message.
    """
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"`{name}` must be one of {', '.join(choices)}, not {shown(value)}")


def whole_number(name: str, value: Any, least: int | None = None) -> int:
    """Return an argument as an int; CharlstmError if it is not a whole number, or below `least`.

    Integers of NumPy's types are accepted too. name: the name of the argument, for the message.
    """
    try:
        number = int(index(value))
    except TypeError:
        raise ArgumentError(f"`{name}` must be a whole number, not {shown(value)}") from None
    if least is not None and number < least:
        raise ArgumentError(f"`{name}` must be {least} or more, not {number}")
    return number
