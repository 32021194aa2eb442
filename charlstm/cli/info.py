"""charlstm info and charlstm cache: what a run holds, and what the cache of texts holds."""

import json
from pathlib import Path

import click

from charlstm.cli.shared_options import json_option, run_option
from charlstm.errors import CharlstmError
from charlstm.runs.folder import describe, describe_machine, newest_run
from charlstm.system.terminal import visible
from charlstm.text.cache import cache_folder, cache_limit, cache_size, clear_cache


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@run_option
@json_option
def info(path: Path | None, run: Path | None, as_json: bool) -> None:
    """Tell what a run or a checkpoint file holds, and what computes here.  [default: newest run]

    Where there is no run at all, it tells the kernels and the precision of training.
    """
    if path and run:
        raise click.UsageError("give a PATH or -r, not both")
    place = path or run
    if place is None:
        try:
            place = newest_run()
        except CharlstmError as error:
            click.echo(visible(str(error)), err=True)
    about = describe_machine() if place is None else describe(place)
    if as_json:
        click.echo(json.dumps(about))
        return
    for name, value in about.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items() if item is not None)
        click.echo(f"{name.replace('_', ' '):14} {visible(str(value))}")


@click.command()
@click.option("--clear", is_flag=True, help="Remove all of it.")
def cache(clear: bool) -> None:
    """Show or clear the cache of encoded texts.

    It lies in CHARLSTM_CACHE, by default the user's cache folder, and may grow to
    CHARLSTM_CACHE_GB (10); what was used longest ago goes first.
    """
    if clear:
        click.echo(f"{clear_cache():,} bytes freed")
        return
    size, entries = cache_size()
    click.echo(f"{cache_folder()}: {entries} texts, {size:,} of {cache_limit():,.0f} bytes")
