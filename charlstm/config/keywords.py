"""takes_options: a decorator that shows the options of a function and refuses misspelt ones."""

import inspect
import textwrap
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, TypeVar, cast

from charlstm.config.knobs import Knob, refuse_unknown
from charlstm.errors import system_errors_refused

F = TypeVar("F", bound=Callable[..., Any])

WIDTH = 92  # maximum length of the lines that are added to a docstring


def takes_options(*knobs: Knob) -> Callable[[F], F]:
    """Return a decorator for a function of the library that takes options as keywords.

    A keyword that the function does not take raises UnknownOptionError, whose message has the
    nearest name. An OSError becomes a CharlstmError.

    knobs: the knobs whose values the function takes as `**options`. Each knob becomes a keyword of
        the signature that help() shows, and an entry of the docstring. A parameter of the function
        replaces the knob of its name.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        own = {parameter.name for parameter in parameters}
        added = [knob for knob in knobs if knob.name not in own]
        parameters += [_parameter(knob) for knob in added]
        names = [parameter.name for parameter in parameters]

        @wraps(function)
        def checked(*arguments: Any, **given: Any) -> Any:
            advice = f"help(charlstm.{function.__qualname__}) lists the options"
            refuse_unknown(given, names, advice)
            with system_errors_refused():
                return function(*arguments, **given)

        vars(checked)["__signature__"] = signature.replace(parameters=parameters)
        paragraphs = [inspect.cleandoc(function.__doc__ or ""), "\n".join(map(_entry, added))]
        checked.__doc__ = "\n\n".join(filter(None, paragraphs))
        return cast(F, checked)

    return decorate


def _parameter(knob: Knob) -> inspect.Parameter:
    """Return the keyword of a knob, whose value may also be "auto"."""
    return inspect.Parameter(
        knob.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=knob.train_default,
        annotation=knob.annotation | Literal["auto"],
    )


def _entry(knob: Knob) -> str:
    """Return the lines of a docstring that describe a knob."""
    text = f"{knob.name}: {knob.help_in_full}"
    return textwrap.fill(text, WIDTH, subsequent_indent="    ")
