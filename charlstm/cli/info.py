"""charlstm info: describe a run or a checkpoint file."""

import json
import sys
from pathlib import Path

import click

from charlstm.cli.help import GroupedCommand
from charlstm.cli.info_card import card
from charlstm.cli.option_names import as_options
from charlstm.cli.shared_options import PathArgument, json_option, run_option
from charlstm.errors import CharlstmError
from charlstm.runs.folder import describe, describe_machine, newest_run
from charlstm.system.terminal import columns_of, visible


@click.command(cls=GroupedCommand)
@click.argument("path", required=False, type=PathArgument())
@run_option
@json_option
def info(path: Path | None, run: Path | None, as_json: bool) -> None:
    """Describe a run or a checkpoint file, by default the newest run, and this machine's kernels.

    Numbers are rounded; --json prints all settings and all digits. If there is no run, only the
    kernels and the precision of training are described.
    """
    if path and run:
        raise click.UsageError("give a PATH or -r, not both")
    place = path or run
    if place is None:
        try:
            place = newest_run()
        except CharlstmError as error:
            click.echo(
                visible(as_options(str(error), click.get_current_context().command)), err=True
            )
    facts = describe_machine() if place is None else describe(place)
    if as_json:
        click.echo(json.dumps(facts))
        return
    if place is None:
        click.echo(f"kernels        {facts['kernels']}\nprecision      {facts['precision']}")
        return
    for line in card(facts, columns_of(sys.stdout)):
        click.echo(line)
