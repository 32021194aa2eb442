"""Command-line options that several commands share, and options made from settings classes.

A settings class is a Record, such as TrainConfig. Each of its fields (knobs, see config/knobs.py)
becomes an option.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from charlstm.cli.help import option
from charlstm.cli.option_names import as_options
from charlstm.config import AUTO, Knob, Record, knobs_of

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


class PathArgument(click.Path):
    """A path on the command line. "" is an error: pathlib would take it for the current folder."""

    def __init__(self, path_type: type[str] | type[Path] = Path) -> None:
        # readable=False: click must not check that the path can be read, because the error message
        # of charlstm says more.
        super().__init__(readable=False, path_type=path_type)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("the path is empty: name a file or a folder", param, ctx)
        return super().convert(value, param, ctx)


class TextArgument(click.types.StringParamType):
    """A text on the command line, which is read as UTF-8 under every locale if it is valid UTF-8.

    Under a locale of another encoding, such as C, Python reads each byte above 127 as a character
    of its own.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return os.fsencode(value).decode("utf-8")
        except ValueError:  # The text is not in UTF-8 but in the locale's encoding.
            return value


run_option = click.option(
    "-r",
    "--run",
    type=PathArgument(),
    help="Folder of the run, or file of a checkpoint.  [default: the newest run under runs/]",
)
unknown_option = click.option(
    "--unknown",
    type=click.Choice(["error", "skip", "replace"]),
    default="error",
    show_default=True,
    help="Treatment of characters that the model does not know. error: refuse the text. skip: "
    "leave them out. replace: take the nearest known character, or else a space.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
engine_option = option(
    "--engine",
    group="Run",
    type=click.Choice(["native", "torch"]),
    help="What computes. native: the kernels of charlstm, on the processor. torch: PyTorch, on a "
    "GPU or another device; it needs the extra charlstm[torch].  [default: native; for a run that "
    "is resumed, as before]",
)
device_option = option(
    "--device",
    group="Run",
    type=click.Choice(["auto", "cuda", "mps", "cpu"]),
    help="Device of --engine torch. auto: a GPU if PyTorch finds one, else the processor.  "
    "[default: auto; for a run that is resumed, as before]",
)
encoding_option = click.option(
    "--encoding",
    default="utf-8",
    show_default=True,
    help="Encoding of the files, by its name in Python, such as latin-1.",
)
overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    help="Let --output replace a file that charlstm did not write. charlstm "
    "recognises its own pages and pictures by a mark near their beginning.",
)
novelty_option = click.option(
    "--novelty",
    is_flag=True,
    help="Report how much of the text (of a sample: without its prime) also occurs in the training "
    "text, and show the longest stretches that both contain. The same figures are given for "
    "held-out text.",
)


def knob_options(record: type[Record], names: Iterable[str] = (), prefix: str = "") -> Decorator:
    """Return a decorator that adds options to a command, one for each knob of a settings class.

    The command gets None for an option that the user does not give.

    names: the names of the knobs to add options for; by default all knobs of the class.
    prefix: the text to put before the name of each option.
    """
    knobs = knobs_of(record)

    def decorate(command: Command) -> Command:
        for name in reversed(list(names or knobs)):  # --help shows the option added last first.
            command = _option_of(knobs[name], prefix)(command)
        return command

    return decorate


def _option_of(knob: Knob, prefix: str) -> Decorator:
    """Return a decorator that adds the option of a knob to a command."""
    flag = f"--{prefix}{knob.name}".replace("_", "-")
    text = as_options(knob.help_in_full)
    if bool in knob.types:
        off = flag.replace("--", "--no-", 1)
        return option(f"{flag}/{off}", group=knob.group, default=None, help=text)
    return option(
        flag,
        group=knob.group,
        type=_type_of(knob),
        multiple=tuple in knob.types,
        default=None,
        help=text,
    )


def _type_of(knob: Knob) -> "click.ParamType[Any]":
    """Return the type of a knob's values on the command line."""
    if knob.choices:
        automatic = (AUTO,) if knob.default == AUTO else ()
        return click.Choice([*automatic, *knob.choices])
    if tuple in knob.types:
        return PathArgument(str)
    return click.FLOAT if float in knob.types else click.INT if int in knob.types else click.STRING


def knob_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the user gave, by name: those with a value other than None."""
    return {name: value for name, value in options.items() if value is not None}
