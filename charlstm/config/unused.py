"""Errors for options that have no effect because of another option.

For example, --warmup has no effect with --schedule constant. An option that has no effect only
because of the model's size is accepted, such as dropout between layers in a model of one layer, so
that the same options can be given for models of several sizes.
"""

from collections.abc import Mapping
from typing import Any

from charlstm.errors import ArgumentError, quoted

# Each key is a knob that has an effect only for some values of another knob. The tuple of a key has
# the name of the other knob and the values for which the key has an effect.
USED_WITH: dict[str, tuple[str, tuple[Any, ...]]] = {
    "warmup": ("schedule", ("cosine",)),
    "final_lr": ("schedule", ("cosine",)),
    "decay": ("schedule", ("step", "plateau")),
    "decay_every": ("schedule", ("step",)),
    "patience": ("schedule", ("plateau",)),
    "beta1": ("optimizer", ("adam", "sgd")),
    "beta2": ("optimizer", ("adam", "rmsprop")),
    "vocab_size": ("level", ("word",)),
    "spell_below": ("level", ("char",)),
    "newlines": ("level", ("char", "word")),
}
UNUSED_WITH_LINES = ("recut", "reset")  # knobs that have no effect for a model of lines


def refuse_unused(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise CharlstmError for an option that has no effect together with the other options.

    given: the options that the user gave, by name.
    defaults: the values that `charlstm train` uses for options that were not given.

    An option that depends on another one is checked only if `given` or `defaults` has that other
    option.
    """
    values = {**defaults, **given}
    for name, (other, users) in USED_WITH.items():
        if name in given and other in values and values[other] not in users:
            raise ArgumentError(
                f'`{name}` has no effect with `{other}="{values[other]}"`: leave out `{name}`, or '
                f"give {' or '.join(f'`{other}={quoted(user)}`' for user in users)}"
            )
    for name in UNUSED_WITH_LINES:
        if name in given and given.get("lines") is True:
            raise ArgumentError(f"`{name}` has no effect with `lines=True`: leave out one of them")
