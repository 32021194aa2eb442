"""The commands with odd options that odd_options.py runs, and the files that they name.

The commands and their options are read from click: a new option needs no change here.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

import charlstm
from charlstm.cli.main import main as charlstm_command

NUMBERS = (
    "many", "", " ", "-1", "0", "1", "0.5", "-0.0", "1e3", "nan", "inf", "-inf", "1e308", "1e-308",
    "2147483648", "9223372036854775808", "1" + 40 * "0", "1" + 400 * "0", "٣", "1_0", "0x10",
    "\x1b[2J", "1000000", "16384", "7",
)  # fmt: skip
TEXTS = ("", " ", "\n", "\x1b[2J", "ü\u202e", "\udcff", "\0", "x" * 300, "--", "-", "%s{0}")
# Values of options that take a path: files that make_folder makes, and names that cannot be a text
# or a run. A command may write to any of these paths, even as root. No path is therefore a file of
# the system that root could overwrite.
PATHS = (
    "none", "none/none", "folder", "text.txt", "text.txt/inside", "run", "empty.txt", "latin.txt",
    "closed.txt", "closed", "closed/inside", "", " ", ".", "..", "~", "-", "nu\0l", "x" * 300,
    "a\x1b[2J\nb", "\udcff", "damaged.safetensors", "link-to-null", "link-to-full", "pipe",
    "/proc/self/mem",
)  # fmt: skip
# Values of arguments that take a path. No command writes to the path of an argument.
READ_PATHS = (*PATHS, "/", "/dev/null", "/dev/full")
# Arguments that each command needs beside the options under test, so that it does its work.
REQUIRED_ARGUMENTS = {
    "train": ["text.txt", "-r", "new", "--steps", "1", "--hidden", "4", "--quiet"],
    "sample": ["-r", "run", "--length", "5"],
    "eval": ["text.txt", "-r", "run"],
    "score": ["text.txt", "-r", "run"],
    "info": ["run"],
    "gates": ["text.txt", "-r", "run", "--output", "page.html", "--length", "50"],
    "gradients": ["--lags", "5", "--hidden", "4"],
    "cache": [],
}


NO_COMMAND = "(none)"  # the name in tables of the command lines that name no command


class Case(NamedTuple):
    """One command line: the names of the group, if any, and of the command, then the arguments."""

    command: tuple[str, ...]
    arguments: tuple[str, ...]


def make_folder(folder: Path) -> None:
    """Make the files that PATHS names, except the pipe."""
    text = "Once upon a time there was a king, and the king had a daughter.\n" * 30
    (folder / "text.txt").write_text(text, encoding="utf-8")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "latin.txt").write_bytes("café\n".encode("latin-1") * 9)
    (folder / "folder").mkdir()
    (folder / "closed").mkdir(mode=0)
    (folder / "closed.txt").write_text(text)
    (folder / "closed.txt").chmod(0)
    (folder / "damaged.safetensors").write_bytes(bytes(100))
    (folder / "link-to-null").symlink_to("/dev/null")
    (folder / "link-to-full").symlink_to("/dev/full")
    charlstm.train(
        folder / "text.txt",
        folder / "run",
        hidden=4,
        steps=2,
        batch_size=2,
        seq_length=8,
        workers=1,
    )


def commands(
    group: click.Group = charlstm_command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield the names and the object of each command below a group and its subgroups."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def odd_values(parameter: click.Parameter) -> tuple[str, ...]:
    """Return wrong and extreme values for the type of a parameter."""
    if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType):
        return NUMBERS
    if isinstance(parameter.type, click.Choice):
        first = str(parameter.type.choices[0])
        return (*TEXTS, "none", first, first.upper(), first[:-1])
    if isinstance(parameter.type, click.Path):
        # click itself fails with an exception for a path with a NUL.
        return tuple(path for path in PATHS if "\0" not in path)
    if isinstance(parameter, click.Argument):
        return READ_PATHS
    return (*TEXTS, "hex", "utf-16", "idna", "undefined", *PATHS[:4])


def with_valid_value(option: click.Option) -> list[str]:
    """Return an option with a value that is valid unless another option contradicts it."""
    if option.is_flag:
        return [option.opts[0]]
    kind: Any = option.type
    value = "run" if isinstance(kind, click.Path) else "a"
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        value = "0.5" if isinstance(kind, click.types.FloatParamType) else "2"
    if isinstance(kind, click.Choice):
        value = str(kind.choices[-1])
    return [option.opts[0], value]


def cases(only: str | None = None) -> Iterator[Case]:
    """Yield all command lines to try, or those of one command or of NO_COMMAND."""
    for path, command in commands():
        if only in (None, path[-1]):
            yield from _cases_of(path, command)
    if only in (None, NO_COMMAND):
        yield from (Case((), ("no such command",)), Case((), ("",)), Case((), ("--version=1",)))


def _cases_of(path: tuple[str, ...], command: click.Command) -> Iterator[Case]:
    required = REQUIRED_ARGUMENTS.get(path[-1], [])
    options = [p for p in command.params if isinstance(p, click.Option)]
    for option in options:
        # The name alone is valid if the option is a flag; otherwise its value is missing.
        yield Case(path, (*required, option.opts[0]))
        if option.is_flag:
            yield Case(path, (*required, option.opts[-1] + "=x"))
            continue
        for value in odd_values(option):
            yield Case(path, (*required, f"{option.opts[-1]}={value}"))
    for argument in (p for p in command.params if isinstance(p, click.Argument)):
        rest = required[1:] if required and not required[0].startswith("-") else required
        for value in odd_values(argument):
            yield Case(path, (*rest, "--", value))
            yield Case(path, (*rest, "--", "text.txt", value))
    # all pairs of options, among them those that contradict each other
    for one, other in itertools.combinations(options, 2):
        yield Case(path, (*required, *with_valid_value(one), *with_valid_value(other)))
    yield Case(path, (*required, "--no-such-option"))
    yield Case(path, (*required, "-r"))
    yield Case(path, ("--", *required, "surplus", "\x1b[2J"))
