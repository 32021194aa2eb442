"""charlstm eval: measure how well a model predicts a text."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from charlstm.analysis.dynamic_evaluation import DynamicConfig
from charlstm.analysis.evaluation import DYNAMIC_KNOBS, dynamic_settings, measure
from charlstm.cli.help import GroupedCommand
from charlstm.cli.loading import load_model
from charlstm.cli.novelty_report import NoveltyReport
from charlstm.cli.option_names import as_options
from charlstm.cli.run_text import own_split, reading_options
from charlstm.cli.shared_options import (
    Command,
    PathArgument,
    device_option,
    engine_option,
    json_option,
    knob_options,
    knob_values,
    novelty_option,
    run_option,
    unknown_option,
)
from charlstm.cli.text_input import encode_on_disk, read_text_for
from charlstm.config import AUTO
from charlstm.network.scoring import Advance, Loss
from charlstm.network.scoring import evaluate as loss_of_text
from charlstm.runs.engines import NATIVE, engine_of
from charlstm.system.terminal import columns_of
from charlstm.system.threads import available_cores
from charlstm.text.vocab import UnknownTreatment

_dynamic_flag = click.option(
    "--dynamic",
    is_flag=True,
    help="Measure by dynamic evaluation (Krause et al. 2018): the model goes on learning from the "
    "text that it reads. The loss of each part is measured before the model learns from that part. "
    "Passages that occurred earlier in the text are expected again (--dynamic-match). "
    "For a model of lines, dynamic evaluation helps only where neighbouring lines are alike.",
)


def dynamic_options(command: Command) -> Command:
    """Add --dynamic and its settings; the command gets `dynamic`, a DynamicConfig or None."""

    @wraps(command)
    def with_dynamic(*, dynamic: bool, **options: Any) -> Any:
        names = (f"dynamic_{name}" for name in DYNAMIC_KNOBS)
        given = knob_values({name: options.pop(name) for name in names})
        if given and not dynamic:
            name = next(iter(given)).replace("_", "-")
            raise click.UsageError(f"--{name} needs --dynamic")
        settings = dynamic_settings(given) if dynamic else None
        return command(dynamic=settings, **options)

    return _dynamic_flag(knob_options(DynamicConfig, DYNAMIC_KNOBS, "dynamic-")(with_dynamic))


@click.command(cls=GroupedCommand, name="eval")
@click.argument("texts", nargs=-1, type=PathArgument(str))
@run_option
@click.option(
    "--window",
    type=int,
    help="Measure on cold windows of this number of characters, 1 or more: each starts from a zero "
    "state, as in nanoGPT.  [default: no windows, the state is carried through the text]",
)
@click.option(
    "--batch-size",
    type=int,
    help="Number of streams into which the text is cut, to be read in parallel. Each stream first "
    "reads the 1,000 characters before its part of the text, so that the loss is almost the same "
    "as with one stream. 1: read the text as one stream.  [default: up to 32]",
)
@dynamic_options
@engine_option
@device_option
@reading_options
@unknown_option
@novelty_option
@json_option
def evaluate(
    texts: tuple[str, ...],
    run: Path,
    window: int | None,
    batch_size: int | None,
    dynamic: DynamicConfig | None,
    engine: str | None,
    device: str | None,
    encoding: str,
    newlines: str | None,
    unknown: UnknownTreatment,
    novelty: bool,
    as_json: bool,
) -> None:
    """Measure the loss of a model on TEXTS: files and folders, joined, or - for standard input.

    Without TEXTS, measure the loss on all validation text of the run. Measuring on validation text
    needs the run's folder, and the text that the run was trained on, unchanged and at its old path.
    Then --dynamic finds matches in the training text too.

    For a model of words, "character" means word in all figures; the JSON then has "unit": "word".
    The figure "bytes" is the size in UTF-8 of the predicted text, in which unknown characters were
    skipped or replaced. A model of words does not know this size: in the JSON, it is then null.
    """
    if dynamic and (window is not None or batch_size is not None):
        raise click.UsageError("--dynamic reads one stream: leave out --window and --batch-size")
    computing = engine_of(engine or NATIVE, device or AUTO)
    if dynamic and computing.name != NATIVE:
        raise click.UsageError("--dynamic learns with the native engine: leave out --engine")
    model = load_model(run)
    report = NoveltyReport(run, model) if novelty else None
    if texts:
        pieces = read_text_for(model.vocab, texts, unknown, encoding, newlines)
        ids, starts, before = encode_on_disk(model.vocab, pieces, unknown), None, None
    else:
        split = own_split(run)
        ids, starts, before = split.validation, split.starts, split.train
    if computing.name != NATIVE:
        reason = as_options(computing.reason)
        click.echo(f"computed by {computing.description}: {reason}", err=True)
    workers = computing.start_workers(available_cores())
    result = measure(
        computing.to_evaluate(model),
        ids,
        starts=starts,
        window=window,
        batch_size=batch_size,
        dynamic=dynamic,
        before=before,
        workers=workers,
        progress=partial(progress_bar, model.vocab.unit),
    )
    if dynamic and model.config.lines:
        note_useless_dynamic(result.loss, loss_of_text(model, ids, workers=workers))
    figures = result.to_dict()
    if as_json:
        if report is not None:
            figures["novelty"] = report.to_dict([ids])
        click.echo(json.dumps(figures))
        return
    absent = {
        "window": f"none, {'each line afresh' if model.config.lines else 'state carried'}",
        "dynamic": "no",
        "bytes": "not known of words",
        "bits_per_byte": "not known of words",
        "perplexity": "too large for a number",
    }
    words = model.vocab.level == "word"
    for name, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        shown = f"{value:,.4f}" if isinstance(value, float) else str(value or absent[name])
        label = name.replace("_", " ")
        click.echo(f"{label.replace('character', 'word') if words else label:20} {shown}")
    if report is not None:
        click.echo(report.text([ids], columns_of(sys.stdout)))


def note_useless_dynamic(dynamic: Loss, usual: Loss) -> None:
    """Print a note if dynamic evaluation made the loss of a model of lines higher.

    Dynamic evaluation helps where neighbouring lines are alike. If the lines are in random order,
    learning from one line does not help to predict the next, and only adds noise to the weights.
    """
    if dynamic.nats > usual.nats:
        click.echo(
            f"note: without --dynamic the loss is lower, {usual.nats_per_character:.4f} nats: "
            "these lines do not help to predict one another",
            err=True,
        )


@contextmanager
def progress_bar(unit: str, activity: str, predictions: int) -> Iterator[Advance]:
    """Show a progress bar; yield the function to call with the number of predictions just made."""
    # The module is imported here, as its import of tqdm is slow.
    from charlstm.runs.progress_bar import FittedBar

    with FittedBar(predictions, unit, activity, delay=1) as bar:
        yield bar.update
