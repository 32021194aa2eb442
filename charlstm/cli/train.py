"""charlstm train: train a model on text, or go on with a run."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

import charlstm
from charlstm.cli.shared_options import json_option, knob_options
from charlstm.config import CorpusConfig, ModelConfig, TrainConfig, knobs_of
from charlstm.system.terminal import visible

STARTED = time.monotonic()  # the time budget of --minutes counts from here
TEXT_KNOBS = [name for name in knobs_of(CorpusConfig) if name != "paths"]
SIGNAL_EXITS = {"SIGINT": 130, "SIGTERM": 143}


@click.command()
@click.argument("corpus", nargs=-1)
@click.option(
    "-r",
    "--run",
    type=click.Path(path_type=Path),
    help="Folder of the run.  [default: a new one under runs/, named after the corpus]",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a run, bit for bit; only its end "
    "(--steps, --epochs, --minutes) may be given anew.",
)
@click.option("--overwrite", is_flag=True, help="Begin anew in a folder that holds a run.")
@click.option(
    "--init-from",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Start from the best weights of another run; new characters are added.",
)
@knob_options(ModelConfig)
@knob_options(CorpusConfig, TEXT_KNOBS)
@knob_options(TrainConfig)
@click.option("--quiet", is_flag=True, help="Only the result and errors.")
@json_option
def train(quiet: bool, as_json: bool, **options: Any) -> None:
    """Train a model on CORPUS: text files and folders, or - for standard input.

    Files compressed with gzip or xz are read as text. The run's folder gets best.safetensors (the
    model), last.safetensors (all it takes to go on) and metrics.jsonl.
    """
    result = charlstm.train(started=STARTED, quiet=quiet, **options)
    from charlstm.runs.progress_display import in_nats_and_bits  # imports tqdm, which takes a while

    loss = result.best_val_loss
    if as_json:
        click.echo(
            json.dumps(
                {
                    "path": str(result.path),
                    "best_val_loss": loss,
                    "steps": result.steps,
                    "reason": result.reason,
                    "warnings": result.warnings,
                }
            )
        )
    else:
        found = "no validation loss"
        if loss is not None:
            found = f"best validation loss {in_nats_and_bits(loss)}"
        click.echo(f"{result.path}: {result.steps:,} steps, {found}")
    if result.reason in SIGNAL_EXITS:
        again = f"charlstm train -r {visible(str(result.path))} --resume"
        click.echo(f"interrupted and saved: {again}", err=True)
        sys.exit(SIGNAL_EXITS[result.reason])
    if not quiet:
        click.echo(f"charlstm sample -r {visible(str(result.path))}", err=True)
