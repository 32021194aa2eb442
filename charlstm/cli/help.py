"""The classes of commands: help texts under headings, in lines that fit into the terminal."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from click import formatting

from charlstm import kernels
from charlstm.cli.error_lines import one_line_errors
from charlstm.cli.usage_errors import argument_too_many, unknown_option
from charlstm.config import GROUPS
from charlstm.system.signals import exit_on_signals

NARROW = 60  # columns; below this width, a help text stands below the name of its option
FEWEST_COLUMNS = 20
NON_BREAKING_HYPHEN = "\u2011"


class Formatter(click.HelpFormatter):
    """Lays out a help text in the width of the terminal, with a margin of two columns.

    Lines are broken at spaces only: a name such as --batch-size stays whole.
    """

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        if width is None:
            columns = shutil.get_terminal_size().columns
            width = formatting.FORCED_WIDTH or min(columns, max_width or 80) - 2
        super().__init__(indent_increment, max(FEWEST_COLUMNS, width))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write names beside their texts, or above them if the terminal is narrow."""
        rows = [(name, text.replace("-", NON_BREAKING_HYPHEN)) for name, text in rows]
        if self.width >= NARROW:
            super().write_dl(rows, col_max, col_spacing)
            return
        for name, text in rows:
            if len(name) + self.current_indent > self.width:
                name = name.replace("|", " | ")  # Long lists of choices are wrapped at spaces.
            self.write_text(name)
            with self.indentation():
                self.write_text(text)

    def write_text(self, text: str) -> None:
        """Write paragraphs."""
        super().write_text(text.replace("-", NON_BREAKING_HYPHEN))

    def getvalue(self) -> str:
        """Return the help text that was written, with ordinary hyphens."""
        return super().getvalue().replace(NON_BREAKING_HYPHEN, "-")


HELP_NAMES = ("-h", "--help")


class _Context(click.Context):
    formatter_class = Formatter


class GroupedCommand(click.Command):
    """A command whose options stand in --help under the headings of their groups, in order.

    Options without a group stand in the last group; if no option has a group, under "Options". The
    command prints an error as one line before it exits.
    """

    context_class = _Context

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Return the names of --help, which click otherwise keeps as the first context has them."""
        return list(HELP_NAMES)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True  # The message for such an argument is made here.
        try:
            left = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(unknown_option(self, ctx, error.option_name), ctx) from None
        if left and not ctx.resilient_parsing:
            raise click.UsageError(argument_too_many(self, ctx, left[0]), ctx)
        return left

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_errors(self), exit_on_signals():
            kernels.require_requested_kernels()
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each group under its heading."""
        members: dict[str | None, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            # The text of the command explains its arguments.
            is_option = isinstance(parameter, click.Option)
            if is_option and (record := parameter.get_help_record(ctx)):
                members.setdefault(getattr(parameter, "group", None), []).append(record)
        ungrouped = members.pop(None, [])
        last = GROUPS[-1] if members else "Options"
        members[last] = members.get(last, []) + ungrouped
        for group in (*GROUPS, "Options"):
            if records := members.get(group):
                with formatter.section(group):
                    formatter.write_dl(records)


class GroupedOption(click.Option):
    """An option that stands in --help under the heading of its group, one of config.GROUPS."""

    def __init__(self, *names: Any, group: str | None = None, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.group = group


def option(*names: str, group: str | None, **settings: Any) -> Callable[[Any], Any]:
    """Return a decorator that adds a GroupedOption to a command.

    settings: further keywords of click.option.
    """
    return click.option(*names, cls=GroupedOption, group=group, **settings)


class CommandGroup(click.Group):
    """A group of commands that stand in --help under headings.

    headings: the commands under each heading.
    """

    context_class = _Context

    def __init__(
        self,
        *arguments: Any,
        headings: Mapping[str, Sequence[click.Command]] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.headings = headings or {}
        for command in (command for commands in self.headings.values() for command in commands):
            self.add_command(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentence of the help of each command under its heading."""
        longest = max(map(len, self.commands))
        for heading, commands in (self.headings or {"Commands": [*self.commands.values()]}).items():
            names = [(command.name or "").ljust(longest) for command in commands]
            texts = [command.get_short_help_str(limit=10_000) for command in commands]
            with formatter.section(heading):
                formatter.write_dl(list(zip(names, texts, strict=True)))
