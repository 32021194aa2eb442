"""Messages for an option that a command does not have, and for an argument too many."""

from pathlib import Path

import click

from charlstm.config import nearest_names
from charlstm.runs.folder import RUNS
from charlstm.system.terminal import shell_word

OUTPUT_NAMES = ("-o", "--out", "--output")  # names that other programs give to the output file


def unknown_option(command: click.Command, ctx: click.Context, name: str) -> str:
    """Return the message for an option that a command does not have."""
    known = [flag for option in _options(command, ctx) for flag in _flags(option)]
    long = [flag.removeprefix("--") for flag in known if flag.startswith("--")]
    near = [f"--{flag}" for flag in nearest_names(name.lstrip("-"), long)]
    hint = "--help lists the options"
    if name in OUTPUT_NAMES and command.name != "train":
        hint = "the result goes to standard output: add > FILE to write it to a file"
    elif len(name) > 2 and near:
        hint = f"did you mean {' or '.join(near)}?"
    return f"no such option {name}: {hint}"


def argument_too_many(command: click.Command, ctx: click.Context, word: str) -> str:
    """Return the message for an argument that a command does not take."""
    message = f"unexpected argument {shell_word(word)}"
    if not any("-r" in option.opts for option in _options(command, ctx)):
        return message
    places = (Path(word), RUNS / word)
    run = next((shell_word(str(place)) for place in places if place.is_dir()), "RUN")
    return f"{message}: a run is named with -r {run}"


def _options(command: click.Command, ctx: click.Context) -> list[click.Option]:
    return [each for each in command.get_params(ctx) if isinstance(each, click.Option)]


def _flags(option: click.Option) -> list[str]:
    return [*option.opts, *option.secondary_opts]
