"""charlstm runs: list the runs in a folder as a table."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from charlstm.cli.help import GroupedCommand
from charlstm.cli.shared_options import PathArgument, json_option
from charlstm.errors import CharlstmError
from charlstm.runs.folder import METRICS
from charlstm.runs.listing import ListedRun, list_runs
from charlstm.system.terminal import visible
from charlstm.system.wording import duration

WIDEST = 28  # columns of a name
COLUMNS = tuple(field.name for field in fields(ListedRun) if field.name not in ("unit", "problem"))
# How the values of each column are shown; None stands for a value that is not known.
SHOWN: dict[str, Callable[[ListedRun], str | None]] = {
    "name": lambda run: _cut(run.name),
    "corpus": lambda run: _cut(run.corpus),
    "model": lambda run: run.model,
    "parameters": lambda run: None if run.parameters is None else f"{run.parameters:,}",
    "steps": lambda run: None if run.steps is None else f"{run.steps:,}",
    "best loss": lambda run: None if run.best_loss is None else f"{run.best_loss:.4f}",
    "trained": lambda run: None if run.seconds is None else duration(run.seconds),
    "age": lambda run: _age(run.age),
    "state": lambda run: run.state,
}
NUMBERS = {"parameters", "steps", "best loss", "trained", "age"}


@click.command(cls=GroupedCommand)
@click.argument("folder", type=PathArgument(), default="runs")
@click.option(
    "--sort",
    type=click.Choice([name.replace("_", "-") for name in COLUMNS]),
    default="age",
    show_default=True,
    help="Column to sort by, the lowest value first.",
)
@click.option("--reverse", is_flag=True, help="Sort by the highest value first.")
@json_option
def runs(folder: Path, sort: str, reverse: bool, as_json: bool) -> None:
    """List the runs in FOLDER, by default runs/: size, steps, lowest validation loss, age, state.

    The loss is in nats per character (bytes or words for a model of these).
    """
    name = sort.replace("-", "_")
    found = list_runs(folder)
    if not found and (folder / METRICS).exists():
        raise CharlstmError(
            f"{folder} is a run, not a folder of runs: charlstm info {folder} describes the run, "
            "charlstm runs with the folder above lists it"
        )
    known = [run for run in found if getattr(run, name) is not None]
    unknown = [run for run in found if getattr(run, name) is None]
    ordered = sorted(known, key=lambda run: getattr(run, name), reverse=reverse) + unknown
    for run in ordered:
        if run.problem:
            click.echo(f"note: {visible(run.problem)}", err=True)
    if as_json:
        click.echo(json.dumps([asdict(run) for run in ordered]))
        return
    for line in _table(ordered):
        click.echo(line)


def _table(found: list[ListedRun]) -> list[str]:
    """Return the lines of a table whose columns are as wide as their widest value."""
    rows: list[list[str]] = [list(SHOWN)]
    rows += [[visible(show(run) or "-") for show in SHOWN.values()] for run in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def padded(row: list[str]) -> str:
        cells: list[Any] = [
            cell.rjust(width) if name in NUMBERS else cell.ljust(width)
            for name, cell, width in zip(SHOWN, row, widths, strict=True)
        ]
        return "  ".join(cells).rstrip()

    return [padded(row) for row in rows]


def _cut(text: str) -> str:
    """Return a text of at most WIDEST characters."""
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _age(seconds: float) -> str:
    """Return an age in the unit that suits it, also days."""
    return duration(seconds) if seconds < 2 * 86400 else f"{seconds / 86400:.0f} d"
