"""Refusal of options that another option makes useless, such as a warm-up without its schedule.

Options that only the size of a model makes useless are accepted, such as the dropout between layers
of a model of one layer: one list of settings can then serve models of several sizes.
"""

from collections.abc import Mapping
from typing import Any

from charlstm.errors import CharlstmError

# Knobs that have an effect only for some values of another knob: its name and those values.
USED_WITH: dict[str, tuple[str, tuple[Any, ...]]] = {
    "warmup": ("schedule", ("cosine",)),
    "final_lr": ("schedule", ("cosine",)),
    "decay": ("schedule", ("step", "plateau")),
    "decay_every": ("schedule", ("step",)),
    "patience": ("schedule", ("plateau",)),
    "beta1": ("optimizer", ("adam", "sgd")),
    "beta2": ("optimizer", ("adam", "rmsprop")),
    "vocab_size": ("level", ("word",)),
}
UNUSED_WITH_LINES = ("recut", "reset")  # knobs that have no effect for a model of lines


def refuse_unused(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise CharlstmError for an option that has no effect together with the other options.

    given: the options that the user gave, by name.
    defaults: the values that `charlstm train` uses for options that were not given. Without such a
        value, an option that depends on it is not checked.
    """
    values = {**defaults, **given}
    for name, (other, users) in USED_WITH.items():
        if name in given and other in values and values[other] not in users:
            raise CharlstmError(
                f"{name} has no effect with {other} {values[other]}: leave out {name}, or give "
                f"{other} {' or '.join(users)}"
            )
    for name in UNUSED_WITH_LINES:
        if name in given and given.get("lines") is True:
            raise CharlstmError(f"{name} has no effect with lines: leave out one of them")
