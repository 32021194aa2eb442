"""charlstm train: train a model on text, or continue a run."""

import json
import sys
from contextlib import closing
from dataclasses import asdict
from typing import Any

import click

import charlstm
from charlstm.cli.command_start import command_start
from charlstm.cli.help import GroupedCommand, option
from charlstm.cli.loading import note_missing_best
from charlstm.cli.option_names import as_options
from charlstm.cli.shared_options import (
    PathArgument,
    device_option,
    engine_option,
    json_option,
    knob_options,
)
from charlstm.config import CorpusConfig, ModelConfig, TrainConfig, knobs_of
from charlstm.errors import ArgumentError
from charlstm.runs.engines import is_restarted, process_number
from charlstm.runs.folder import LAST, REPORT
from charlstm.system.signals import exit_code
from charlstm.system.terminal import columns_of, shell_word, visible
from charlstm.system.wording import counted, in_nats_and_bits, wrapped

TEXT_KNOBS = [name for name in knobs_of(CorpusConfig) if name != "paths"]


@click.command(cls=GroupedCommand)
@click.argument("corpus", nargs=-1, type=PathArgument(str))
@option(
    "-r",
    "--run",
    group="Common options",
    type=PathArgument(),
    help="Folder of the run.  [default: a new one under runs/, named after the text]",
)
@option(
    "--resume",
    group="Common options",
    is_flag=True,
    help="Continue a run, with the same result as if it had not been interrupted. Only the end of "
    "a resumed run may be changed, --steps, --epochs or --minutes, and --engine and --device.",
)
@option(
    "--corpus",
    "new_corpus_paths",
    group="Run",
    multiple=True,
    type=PathArgument(str),
    metavar="PATH",
    help="With --resume: the new path of the run's text, if it was moved. The content of the text "
    "must not have changed. Give --corpus once for each original path, in the same order.",
)
@option(
    "--overwrite",
    group="Run",
    is_flag=True,
    help="Replace the run that the folder holds by a new run. Files that charlstm did not write "
    "are kept.",
)
@option(
    "--init-from",
    group="Model",
    type=PathArgument(),
    metavar="RUN",
    help="Start from the best weights of another run. Characters of the text that the other run's "
    "model does not know are added to the vocabulary.",
)
@option(
    "--textbook",
    group="Model",
    is_flag=True,
    help="Train a textbook's LSTM and nothing else: no capped gates, no table of n-grams, no skip "
    "connections, no dropout, no resets of the state, no averaged weights. An option given beside "
    "--textbook adds one part again: --textbook --capped has capped gates.",
)
@knob_options(CorpusConfig, TEXT_KNOBS)
@knob_options(ModelConfig)
@knob_options(TrainConfig)
@option(
    "--report/--no-report",
    group="Run",
    default=None,
    help="Write report.html into the run's folder, a page that shows the run, at the start and "
    "after each evaluation. A page that is open in a browser renews itself.  "
    "[default: yes; for a run that is resumed, as before]",
)
@engine_option
@device_option
@click.option("--quiet", is_flag=True, help="Print only the result and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Print the settings of the training too.")
@json_option
def train(
    quiet: bool, verbose: bool, as_json: bool, new_corpus_paths: tuple[str, ...], **options: Any
) -> None:
    """Train a model on CORPUS: text files and folders, or - for standard input.

    Files compressed with gzip or xz are decompressed. The run's folder holds best.safetensors (the
    model), last.safetensors (the state from which the run can be resumed), metrics.jsonl, and
    report.html, a page that shows the run and renews itself while the run goes on.
    """
    # The module is imported here, as its import of tqdm is slow.
    from charlstm.runs.progress_display import RunDisplay

    if process_number():
        from charlstm.torch_engine.processes import help_process_0

        return help_process_0()
    if is_restarted() and options["run"] and (options["run"] / LAST).exists():
        kept = ("run", "engine", "device", "report")
        options = {name: options[name] for name in kept} | {"corpus": (), "resume": True}
        options["init_from"] = None
    if quiet and verbose:
        raise click.UsageError("give --quiet or --verbose, not both")
    corpus, resume = options.pop("corpus"), options["resume"]
    if corpus and resume:
        raise ArgumentError(
            "--resume takes the corpus and the weights from the run: leave out CORPUS, or name "
            "the text's new place with --corpus"
        )
    if new_corpus_paths and not resume:
        raise ArgumentError("--corpus names the text of a run that is resumed: add --resume")
    if options["init_from"]:
        note_missing_best(options["init_from"])
    with closing(RunDisplay(verbose, in_words=in_options)) as display:
        result = charlstm.train(
            new_corpus_paths or corpus,
            started=command_start(),
            on_interrupt="return",
            quiet=quiet,
            observer=None if quiet else display,
            **options,
        )
    signal_code = exit_code(result.reason)
    try:
        _print_result(result, as_json)
    except OSError as error:  # The terminal may be gone, for example after SIGHUP.
        if not signal_code:
            path = visible(str(result.path))
            error.strerror = f"{error.strerror} (the run is saved in {path})"
            raise
    path, last = (shell_word(str(file)) for file in (result.path, result.path / LAST))
    if signal_code:
        click.echo(f"interrupted and saved; to go on: charlstm train -r {path} --resume", err=True)
        sys.exit(signal_code)
    if not quiet:
        if options["report"] is not False and (result.path / REPORT).exists():
            page = shell_word(str(result.path / REPORT))
            click.echo(f"to see the run: open {page} in a browser", err=True)
        click.echo(f"to write text: charlstm sample -r {path}", err=True)
        if result.best_step is not None and result.best_step < result.steps:
            click.echo(
                f"  (by the model of step {result.best_step:,}; "
                f"by that of the last step: charlstm sample -r {last})",
                err=True,
            )


def in_options(text: str) -> str:
    """Return a message of a training in which arguments are shown as options of the command."""
    return as_options(text, train)


def _print_result(result: charlstm.TrainedRun, as_json: bool) -> None:
    """Print the result of a training on standard output: in words, or as JSON."""
    if as_json:
        facts = asdict(result) | {"path": str(result.path), "best_val_bits": result.best_val_bits}
        click.echo(json.dumps(facts | {"warnings": list(map(in_options, result.warnings))}))
        return
    loss, best = result.best_val_loss, "no validation loss"
    if loss is not None:
        best = f"best validation loss {in_nats_and_bits(loss, result.unit)}"
    text = f"{visible(str(result.path))}: {counted(result.steps, 'step')}, {best}"
    click.echo(wrapped(text, columns_of(sys.stdout), indent="  "))
