"""charlstm export: write a model in a form that others read, such as a page that computes it."""

import json
from pathlib import Path
from typing import Any

import click

from charlstm.cli.evaluate import progress_bar
from charlstm.cli.help import GroupedCommand
from charlstm.cli.loading import load_model
from charlstm.cli.run_text import own_split
from charlstm.cli.shared_options import PathArgument, json_option, overwrite_option, run_option
from charlstm.errors import CharlstmError
from charlstm.export.compact import WEIGHTS, CompactModel, Weights, compact
from charlstm.export.html_page import html_page
from charlstm.network.model import CharModel
from charlstm.network.scoring import evaluate
from charlstm.pages.page import write_page
from charlstm.runs.folder import checkpoint_path, newest_run
from charlstm.system.output_files import require_output
from charlstm.system.terminal import visible
from charlstm.system.threads import Workers, available_cores
from charlstm.system.wording import size_in_words

MEASURED_SYMBOLS = 500_000  # largest part of the validation text on which the cost is measured


def _write_html(compacted: CompactModel, run: Path, file: Path) -> int:
    name = (run.parent if run.is_file() else run).resolve().name
    return write_page(file, html_page(compacted, visible(name) or "model"))


# Each writes a model to a file, and returns the size of the file, by the ending of its name.
WRITERS = {".html": _write_html}


@click.command(cls=GroupedCommand)
@click.argument("file", type=PathArgument())
@run_option
@click.option(
    "--weights",
    type=click.Choice(WEIGHTS),
    default="int8",
    show_default=True,
    help="Numbers in which the weights are stored. int8: 8 bits, with a factor for each row of a "
    "matrix. float16 and float32: 16 and 32 bits; the file is about five and ten times as large.",
)
@overwrite_option
@json_option
def export(file: Path, run: Path | None, weights: Weights, overwrite: bool, as_json: bool) -> None:
    """Write the model of a run to FILE, in the form that the ending of its name says.

    A name such as model.html makes a page with the model inside, to play with it in a browser. The
    page needs no server and no internet connection. With the stored weights, the page writes the
    text that "charlstm sample" writes with the same seed.

    Weights are stored in fewer bits. The command prints the cost: the difference between the losses
    of the stored and of the original weights on the run's validation text.

    A model can give away parts of the text that it was trained on: share it only where that text
    may be read.
    """
    writer = WRITERS.get(file.suffix.lower())
    if writer is None:
        raise click.UsageError(
            f"{file}: the ending of FILE says which form to write: {', '.join(WRITERS)}"
        )
    run = run or newest_run()
    require_output(file, [checkpoint_path(run)], overwrite)
    model = load_model(run)
    compacted = compact(model, weights)
    losses = _losses(run, model, compacted.model)
    size = writer(compacted, run, file)
    if as_json:
        facts: dict[str, Any] = {"file": str(file), "bytes": size, "weights": weights, **losses}
        click.echo(json.dumps(facts))
    else:
        click.echo(file)
    if losses:
        cost = losses["exported_loss"] - losses["loss"]
        click.echo(
            f"{weights} weights cost {cost:.4f} nats per {model.vocab.unit}: "
            f"{losses['exported_loss']:.4f} instead of {losses['loss']:.4f} on the validation text",
            err=True,
        )
    click.echo(
        f"{size_in_words(size)}; a model can give away parts of the text that it was trained on: "
        "share it only where that text may be read",
        err=True,
    )


def _losses(run: Path, model: CharModel, stored: CharModel) -> dict[str, float]:
    """Return the losses of a model and of its stored form on the run's validation text.

    The result is empty, and a note says why, if the run has no validation text at hand.
    """
    try:
        split = own_split(run)
    except CharlstmError as error:
        reason = visible(str(error).partition(": without TEXTS")[0])
        click.echo(f"note: the cost of the weights is not measured: {reason}", err=True)
        return {}
    ids = split.validation[:MEASURED_SYMBOLS]
    starts = split.starts[split.starts < len(ids) - 1]
    workers = Workers(available_cores())
    losses = {}
    with progress_bar(model.vocab.unit, "measuring", 2 * len(ids)) as advance:
        for name, each in (("loss", model), ("exported_loss", stored)):
            loss = evaluate(each, ids, starts=starts, workers=workers, advance=advance)
            losses[name] = loss.nats_per_character
    return losses
