"""The command `charlstm`: the group of all commands."""

import sys
from typing import Any

import click

from charlstm import __version__
from charlstm.cli.cache import cache
from charlstm.cli.command_start import begin_command
from charlstm.cli.convert import convert
from charlstm.cli.error_lines import one_line_errors
from charlstm.cli.evaluate import evaluate
from charlstm.cli.export import export
from charlstm.cli.help import HELP_NAMES, CommandGroup
from charlstm.cli.info import info
from charlstm.cli.inspect import inspect
from charlstm.cli.report import report
from charlstm.cli.runs import runs
from charlstm.cli.sample import sample
from charlstm.cli.score import score
from charlstm.cli.serve import serve
from charlstm.cli.train import train
from charlstm.system.terminal import discard_unwritable_output, prepare_standard_streams


class MainGroup(CommandGroup):
    """The group of all commands, which prints an error as one line before it exits."""

    def main(self, *args: Any, **options: Any) -> Any:
        begin_command()
        prepare_standard_streams()
        try:
            # Click prints the completions for a shell outside of make_context and invoke.
            with one_line_errors():
                return super().main(*args, **options)
        except click.exceptions.Exit as end:
            sys.exit(end.exit_code)
        except SystemExit as end:
            if isinstance(end.code, int) and end.code > 128:  # a signal has ended the command
                discard_unwritable_output()
            raise

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with one_line_errors():  # Click prints the version while it makes the context.
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_errors():  # Click reads the arguments of the command before it invokes it.
            return super().invoke(ctx)


@click.group(
    cls=MainGroup,
    headings={
        "Train a model": [train],
        "Use a model": [sample, evaluate, score, serve, export, convert],
        "Look closer": [runs, report, info, inspect, cache],
    },
    epilog="""Completion with the Tab key: put the line of your shell into its start-up file.

    \b
    bash, in ~/.bashrc:
      eval "$(_CHARLSTM_COMPLETE=bash_source charlstm)"
    zsh, in ~/.zshrc:
      eval "$(_CHARLSTM_COMPLETE=zsh_source charlstm)"
    fish, in ~/.config/fish/config.fish:
      _CHARLSTM_COMPLETE=fish_source charlstm | source
    """,
    context_settings={"help_option_names": HELP_NAMES, "max_content_width": 100},
)
@click.version_option(__version__, prog_name="charlstm")
def main() -> None:
    """Train character-level language models on your own text, and use them.

    To begin: "charlstm train FILE" learns from a text, and "charlstm sample" then writes more text
    like it. "charlstm train --help" explains all options of train.
    """
