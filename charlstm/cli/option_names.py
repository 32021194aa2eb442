"""as_options: a message or help text of the library, in the words of the command line.

The library speaks of its arguments, as Python writes them, in backquotes. The command line shows
them as its options: `batch_size` becomes --batch-size, `lr=0.1` becomes --lr 0.1, `lines=False`
becomes --no-lines, and `charlstm.train(run="a", resume=True)` becomes charlstm train -r a --resume.
"""

import json
import re
from collections.abc import Iterable, Iterator

import click

from charlstm.system.terminal import shell_word
from charlstm.system.wording import option_words

_VALUE = r'"(?:[^"\\]|\\.)*"|[^\s,()"]+'
_ARGUMENT = rf"[a-z]\w*(?:=(?:{_VALUE}))?"
_MARKED = re.compile(rf"`(?:charlstm\.(\w+)\()?({_ARGUMENT}(?:, {_ARGUMENT})*)\)?`")
_PARTS = re.compile(rf"([a-z]\w*)(?:=({_VALUE}))?")


def as_options(text: str, command: click.Command | None = None) -> str:
    """Return a text in which arguments of the library are shown as options.

    command: the command whose options are meant; an argument that is none of them loses its
        backquotes and is not changed otherwise. None: all arguments in the text are options.
    """
    options = None if command is None else dict(_options_of(command))

    def shown(marked: re.Match[str]) -> str:
        called, inside = marked.groups()
        arguments = [_as_option(part[1], part[2], options) for part in _PARTS.finditer(inside)]
        return " ".join([*(["charlstm", called] if called else []), *arguments])

    return _MARKED.sub(shown, text)


def options_among(names: Iterable[str], command: click.Command) -> list[str]:
    """Return the options of a command for those arguments, given by name, that it has."""
    options = dict(_options_of(command))
    return [_as_option(name, None, options) for name in names if name in options]


def _options_of(command: click.Command) -> Iterator[tuple[str, click.Option]]:
    """Yield the options of a command, or of the commands of a group, by the names of arguments."""
    if isinstance(command, click.Group):
        for member in command.commands.values():
            yield from _options_of(member)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for name in parameter.opts:
                yield name.lstrip("-").replace("-", "_"), parameter


def _as_option(name: str, value: str | None, options: dict[str, click.Option] | None) -> str:
    """Return the option of an argument of the library: `--lr 0.1` for `lr=0.1`, `--lr` for `lr`.

    options: the options of a command by the names of arguments; None: any argument is an option.
    """
    if options is not None and name not in options:
        return name if value is None else f"{name}={value}"
    plain: object = {None: True, "True": True, "False": False}.get(value, value)
    if isinstance(plain, str) and plain.startswith('"'):
        plain = shell_word(json.loads(plain))
    option = None if options is None else options[name].opts[0]
    return " ".join(option_words(name, plain, option))
