"""Record, the base class of settings classes, and `knob`, which declares a field of such a class.

The fields of a settings class are called knobs. An example of a declaration:

    hidden: int = knob(128, "Units of each layer.", within="[1, 16384]", rule="by the text's size")

The name and the type of a knob are those of the field. The default, the help text and the range are
arguments of `knob`. The checks of the library, the options of the command line and the table of all
options are made from this one declaration, so they always agree.
"""

import math
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import NoneType
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from charlstm.errors import ArgumentError, CharlstmError, UnknownOptionError, shown
from charlstm.untrusted import LARGEST_INTEGER, LARGEST_REAL

# `charlstm train` replaces the value AUTO by one that it chooses. A knob of any type may be AUTO.
AUTO: Any = "auto"

# The headings in --help of a command with many options, in their order.
Group = Literal["Common options", "Text", "Model", "Training", "Regularisation", "Run", "Output"]
GROUPS: tuple[str, ...] = typing.get_args(Group)

_UNSET: Any = object()
MOST_NAMES = 3  # An error for a misspelt name offers at most this many names.


@dataclass(frozen=True)
class Interval:
    """An interval of numbers in the notation of mathematics, such as "[0, 1)" or "(0, inf)"."""

    text: str

    @property
    def low(self) -> float:
        """The lower bound."""
        return _bound(self.text[1:].split(",")[0])

    @property
    def high(self) -> float:
        """The upper bound."""
        return _bound(self.text[:-1].split(",")[1])

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.text[0] == "(" else value >= self.low
        below = value < self.high if self.text[-1] == ")" else value <= self.high
        return above and below

    def __str__(self) -> str:
        """The interval in words, such as "0 or more and below 1"."""
        low, high = _in_words(self.low), _in_words(self.high)
        if self.text[0] == "[" and self.text[-1] == "]":
            return f"{low} to {high}"
        lower = f"above {low}" if self.text[0] == "(" else f"{low} or more"
        if math.isinf(self.high):
            return lower
        return f"{lower} and {'below' if self.text[-1] == ')' else 'at most'} {high}"


def _bound(text: str) -> float:
    """Convert a bound to an int if it has only digits, as floats round integers above 2^53."""
    text = text.strip()
    return int(text) if text.isdigit() else float(text)


def _in_words(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) and bound < 10**15 else f"{bound:g}"


@dataclass(frozen=True)
class KnobFacts:
    """The facts of a knob other than its name, type and default; `knob` explains them."""

    help: str
    within: Interval | None
    also: tuple[Any, ...]
    train: Any
    rule: str
    group: Group | None


def knob(
    default: Any,
    help: str,
    *,
    within: str | None = None,
    also: tuple[Any, ...] = (),
    train: Any = _UNSET,
    rule: str = "",
    group: Group | None = None,
) -> Any:
    """Declare a field of a Record.

    default: the value of the field in a record that is made without one.
    help: one or more sentences for the command line and the table of options.
    within: the interval that numbers must lie in, such as "[0, 1)".
    also: values outside of the interval that are allowed too.
    train: the default of `charlstm train`, if that is a constant other than `default`.
    rule: how `charlstm train` chooses the value, if that depends on the text or on the time.
    group: the heading in --help under which the option stands, by default that of the record.
    """
    facts = KnobFacts(help, Interval(within) if within else None, also, train, rule, group)
    return field(default=default, metadata={"knob": facts})


@dataclass(frozen=True)
class Knob:
    """A field of a record: its name, types or choices, default, and the facts given to `knob`."""

    name: str
    annotation: Any  # the type of the field as it is declared, such as `int | None`
    types: tuple[type, ...]  # the types that a value may have; empty if there are choices
    choices: tuple[str, ...]  # the only values allowed; empty if there are types
    default: Any
    facts: KnobFacts
    group: Group | None  # the heading in --help under which the option stands

    @property
    def train_default(self) -> Any:
        """The default of `charlstm train`: a value, or AUTO if a rule chooses it."""
        if self.facts.rule:
            return AUTO
        return self.default if self.facts.train is _UNSET else self.facts.train

    @property
    def default_in_words(self) -> str:
        """The default of `charlstm train`, or the rule that chooses it, as text; "" if none."""
        value = self.train_default
        if self.facts.rule or value in (None, ()):
            return self.facts.rule
        if isinstance(value, bool):
            return "yes" if value else "no"
        return f"{value:g}" if isinstance(value, float) else str(value)

    @property
    def range_in_words(self) -> str:
        """The range of the values as text, such as "0, or 2 to 16"; "" without a range."""
        if self.facts.within is None:
            return ""
        return "".join(f"{other}, or " for other in self.facts.also) + str(self.facts.within)

    @property
    def help_in_full(self) -> str:
        """The help text, followed by the default and the range in brackets if there are any."""
        facts = {"default": self.default_in_words, "range": self.range_in_words}
        notes = "; ".join(f"{name}: {fact}" for name, fact in facts.items() if fact)
        return self.facts.help + (f"  [{notes}]" if notes else "")

    def check(self, value: Any) -> None:
        """Raise CharlstmError for a value of a wrong type or out of range, but never for AUTO."""
        if _is_auto(value):
            return
        if self.choices:
            if not isinstance(value, str) or value not in self.choices:
                automatic = (AUTO,) if self.default == AUTO else ()
                names = ", ".join((*automatic, *self.choices))
                raise ArgumentError(f"`{self.name}` must be one of {names}, not {shown(value)}")
            return
        allowed = (*self.types, int) if float in self.types else self.types
        if isinstance(value, bool) != (bool in self.types) or not isinstance(value, allowed):
            names = " or ".join("None" if t is NoneType else t.__name__ for t in self.types)
            raise ArgumentError(f"`{self.name}` must be {names}, not {shown(value)}")
        if isinstance(value, int | float) and value not in self.facts.also:
            self._check_range(value)

    def _check_range(self, value: float) -> None:
        if isinstance(value, float) and not math.isfinite(value):
            raise ArgumentError(f"`{self.name}` must be a finite number, not {shown(value)}")
        within = self.facts.within
        if within is not None and value not in within:
            raise ArgumentError(f"`{self.name}` must be {self.range_in_words}, not {shown(value)}")
        largest = LARGEST_REAL if isinstance(value, float) else LARGEST_INTEGER
        bounded = within is not None and math.isfinite(within.high)
        if not bounded and abs(value) > largest:
            raise ArgumentError(f"`{self.name}` must be {largest:.3g} at most, not {shown(value)}")


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO  # An array is equal to no single value.


def knobs_of(record: type["Record"]) -> Mapping[str, Knob]:
    """Return the knobs of a record by their names, in the order of declaration."""
    if record in _KNOBS:
        return _KNOBS[record]
    annotations = typing.get_type_hints(record)
    found = _KNOBS[record] = {}
    for each in fields(record):
        annotation = annotations[each.name]
        choices: tuple[str, ...] = ()
        types = typing.get_args(annotation) or (annotation,)
        if typing.get_origin(annotation) is Literal:
            choices, types = typing.get_args(annotation), ()
        elif typing.get_origin(annotation) is tuple:
            types = (tuple,)
        facts = each.metadata["knob"]
        group = facts.group or record.group
        found[each.name] = Knob(each.name, annotation, types, choices, each.default, facts, group)
    return found


_KNOBS: dict[type["Record"], dict[str, Knob]] = {}  # cache of knobs_of

Self = TypeVar("Self", bound="Record")


@dataclass(frozen=True)
class Record:
    """The base class of settings classes. Making a record checks the value of each of its knobs.

    Values of NumPy's types are converted to Python's types.

    group: the heading in --help of the options whose knobs name no group of their own.
    """

    group: ClassVar[Group | None] = None

    def __new__(cls: type[Self], *values: Any, **given: Any) -> Self:
        """Refuse a misspelt keyword, before the method __init__ of the dataclass sees it."""
        refuse_unknown(given, knobs_of(cls), f"help(charlstm.{cls.__name__}) lists the options")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, one in knobs_of(type(self)).items():
            value = getattr(self, name)
            if isinstance(value, np.generic):  # JSON accepts only Python's own types.
                value = value.item()
                object.__setattr__(self, name, value)
            one.check(value)
        self.check_together()

    def check_together(self) -> None:
        """Raise CharlstmError for values that contradict each other."""

    @classmethod
    def asked(cls: type[Self], given: Mapping[str, Any]) -> Self:
        """Return a record with the given values, and AUTO for all other knobs."""
        return cls(**{**dict.fromkeys(knobs_of(cls), AUTO), **given})

    @property
    def given(self) -> dict[str, Any]:
        """The values other than AUTO, by name."""
        values = {name: getattr(self, name) for name in knobs_of(type(self))}
        return {name: value for name, value in values.items() if value != AUTO}

    def completed(self: Self, chosen: Mapping[str, Any]) -> Self:
        """Return a copy with each AUTO replaced by its value in `chosen`, or else its default."""
        defaults = {name: one.default for name, one in knobs_of(type(self)).items()}
        return replace(self, **{**defaults, **chosen, **self.given})

    def require_chosen(self, *may_be_open: str) -> None:
        """Raise CharlstmError if a knob is AUTO, unless its name is in `may_be_open`."""
        for name in knobs_of(type(self)):
            if getattr(self, name) == AUTO and name not in may_be_open:
                raise ArgumentError(
                    f"`{name}` is {AUTO}, a value for charlstm.train only: give another value here"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls: type[Self], data: object) -> Self:
        """Return the record that was saved with to_dict; CharlstmError for any other data.

        A knob that is missing from the data gets its default. So a file of an older version, which
        lacks newer knobs, can still be read.
        """
        if not isinstance(data, Mapping):
            raise CharlstmError(
                f"a {cls.__name__} must be a JSON object, not {type(data).__name__}"
            )
        names = knobs_of(cls)
        if unknown := sorted(str(name) for name in data if name not in names):
            raise CharlstmError(f"unknown field {unknown[0]!r} in a {cls.__name__}")
        lists_as_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**lists_as_tuples)


def split_by_record(given: Mapping[str, Any], *records: type[Record]) -> list[dict[str, Any]]:
    """Return a dictionary for each record class: the given values that belong to its knobs.

    Raises CharlstmError for a name that no record class has as a knob.
    """
    parts = [{n: v for n, v in given.items() if n in knobs_of(record)} for record in records]
    refuse_unknown(given, [name for record in records for name in knobs_of(record)])
    return parts


def refuse_unknown(given: Iterable[str], known: Collection[str], advice: str = "") -> None:
    """Raise UnknownOptionError for the first name of `given` that is not in `known`.

    The message has the known name that is nearest in spelling, or `advice` if none is near.
    """
    for name in given:
        if name not in known:
            near = " or ".join(map(repr, nearest_names(name, known)))
            hint = f"did you mean {near}?" if near else advice
            raise UnknownOptionError(f"unknown option {name!r}" + (f": {hint}" if hint else ""))


def nearest_names(name: str, known: Collection[str]) -> list[str]:
    """Return the known names that a misspelt name may stand for, at most MOST_NAMES.

    They are the names that begin with `name`, or else the one that is nearest in spelling.
    """
    longer = [each for each in known if each.startswith(name)]
    if 0 < len(longer) <= MOST_NAMES:
        return longer
    import difflib  # imported here, because only errors need difflib

    return difflib.get_close_matches(name, known, n=1)
