"""Loading the model of a run for a command."""

from pathlib import Path

import click

from charlstm.network.model import CharModel
from charlstm.runs.folder import BEST, LAST, checkpoint_path, load
from charlstm.system.terminal import visible


def load_model(run: Path) -> CharModel:
    """Return the best model of a run's folder, or the model of a checkpoint file.

    Prints a note if the folder has no best model, and the latest is loaded instead.
    """
    note_missing_best(run)
    return load(run)


def note_missing_best(run: Path) -> None:
    """Print a note on standard error if a run's folder has `last` but no `best` checkpoint."""
    if checkpoint_path(run) == run / LAST:
        click.echo(
            f"note: {visible(str(run))} has no {BEST}: the model is read from {LAST}, which has "
            "the latest weights, not those of the lowest validation loss",
            err=True,
        )
