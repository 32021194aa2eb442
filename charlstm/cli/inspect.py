"""charlstm inspect: show the gates of a model on a text, or its gradients over time."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from charlstm.analysis import gradient_flow, gradient_picture
from charlstm.analysis.gate_activity import measure_activity
from charlstm.analysis.gates_page import render
from charlstm.analysis.gates_page_data import (
    LARGE_PAGE,
    gate_figures,
    gates_page_data,
    page_size,
    require_small_page,
)
from charlstm.analysis.gradient_flow import GradientFlow, fresh_model, models_to_compare
from charlstm.arrays import Ids
from charlstm.cli.help import CommandGroup, GroupedCommand
from charlstm.cli.loading import load_model
from charlstm.cli.shared_options import (
    PathArgument,
    TextArgument,
    encoding_option,
    json_option,
    knob_values,
    overwrite_option,
    run_option,
    unknown_option,
)
from charlstm.cli.text_input import encode_text, read_text_for
from charlstm.config import ModelConfig
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.pages.page import write_page
from charlstm.runs.folder import checkpoint_path, newest_run
from charlstm.system.output_files import require_output
from charlstm.system.terminal import columns_of
from charlstm.system.wording import counted, size_in_words, wrapped
from charlstm.text.vocab import UnknownTreatment, Vocab

# `inspect gradients` reads this number of symbols plus --lags from the beginning of a text.
SYMBOLS_TO_READ = 100_000
# A table of norms has a label, columns of LAG_WIDTH for at most MOST_LAGS lags, and one of
# GONE_WIDTH: at most MOST_COLUMNS together. In a narrow terminal, there are fewer lags.
LABEL_WIDTH, LAG_WIDTH, GONE_WIDTH, MOST_LAGS, MOST_COLUMNS = 23, 7, 8, 7, 80
SHOWN_LAGS = (1, 2, 5, 10, 30, 100, 300, 1000, 3000, 10_000)
NORMS = {
    "dh": "norm of dL_t/dh_{t-k}",
    "dc": "norm of dL_t/dc_{t-k}",
    "forget": "product of the forget gates of the last k steps, mean over the units",
}


@click.group(cls=CommandGroup)
def inspect() -> None:
    """Look into a model: its units and gates on a text, and its gradients over time."""


@inspect.command(cls=GroupedCommand)
@click.argument("texts", nargs=-1, type=PathArgument(str))
@click.option("--text", "given", type=TextArgument(), help="The text itself, instead of files.")
@run_option
@click.option(
    "-o",
    "--output",
    type=PathArgument(),
    default="gates.html",
    show_default=True,
    help="File to write the page to.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Write no page, and print figures as JSON: the loss, the mean openness of each gate, and "
    "the units that follow features of the text.",
)
@overwrite_option
@click.option(
    "--length",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="Largest number of characters to read, from the beginning (bytes or words for a model of "
    "these).",
)
@encoding_option
@unknown_option
def gates(
    texts: tuple[str, ...],
    given: str | None,
    run: Path | None,
    output: Path,
    as_json: bool,
    overwrite: bool,
    length: int,
    encoding: str,
    unknown: UnknownTreatment,
) -> None:
    """Write a page that shows a model's units and gates on TEXTS, joined; - is standard input.

    The page is one HTML file and needs no internet connection. For each character, the page shows
    the surprisal, or the value and the gates of a unit that you choose. The page also names units
    that follow quotes, lines or brackets more closely than noise does. Layers and units are counted
    from 1.
    """
    if bool(texts) == (given is not None):
        raise click.UsageError("give files or --text, one of the two")
    source = click.get_current_context().get_parameter_source("output")
    if as_json and source is not ParameterSource.DEFAULT:
        raise click.UsageError("--json writes no page: leave out --output")
    run = run or newest_run()
    if not as_json:
        require_output(output, (*texts, checkpoint_path(run)), overwrite)
    model = load_model(run)
    try:
        ids, whole = _beginning(model.vocab, texts, given, length, encoding, unknown)
    except CharlstmError as error:
        if isinstance(error.__cause__, OSError):  # A file cannot be read: it may be the text.
            raise CharlstmError(f"{error}; a text itself is given with --text") from error
        raise
    if as_json:
        click.echo(json.dumps(gate_figures(model, measure_activity(model, ids), str(run))))
        return
    require_small_page(model, len(ids))
    if (expected := page_size(model, len(ids))) > LARGE_PAGE:
        click.echo(
            f"note: the page will have about {size_in_words(expected)}: a smaller --length gives a "
            "smaller page",
            err=True,
        )
    data = gates_page_data(model, measure_activity(model, ids), str(run))
    size = write_page(output, render(data))
    part = "" if whole else ", the beginning of the text (--length)"
    click.echo(f"{counted(len(ids), model.vocab.unit)}{part}; {size_in_words(size)}", err=True)
    click.echo(output)


@inspect.command(cls=GroupedCommand)
@click.argument("texts", nargs=-1, type=PathArgument(str))
@click.option(
    "-r",
    "--run",
    type=PathArgument(),
    help="Folder of a run or file of a checkpoint, whose model is measured.  [default: an "
    "untrained model of bytes, which reads random bytes if there are no TEXTS]",
)
@click.option(
    "--compare",
    is_flag=True,
    help="Compare untrained RNNs, a GRU and LSTMs in one table; with --run, also the run's model. "
    "The recurrent weights Wh × 0.58 (one over the square root of 3) are as wide as PyTorch's.",
)
@click.option(
    "--cell",
    type=click.Choice(["lstm", "gru", "rnn"]),
    help="Kind of recurrent layer of an untrained model.  [default: lstm]",
)
@click.option(
    "--hidden", type=int, help="Hidden units of each layer of untrained models.  [default: 64]"
)
@click.option("--layers", type=int, help="Number of layers of untrained models.  [default: 1]")
@click.option(
    "--forget-bias",
    type=float,
    help="Bias of the gate that keeps the state, in an untrained model: f of an LSTM, z of a GRU.  "
    "[default: 1]",
)
@click.option(
    "--recurrent-scale",
    type=float,
    help="Factor by which recurrent weights of an untrained model are multiplied.  [default: 1]",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed of untrained weights and of random symbols.",
)
@click.option(
    "--lags",
    type=click.IntRange(min=2),
    default=500,
    show_default=True,
    help="Number of time steps to go back from the loss.",
)
@click.option(
    "--layer",
    type=click.IntRange(min=1),
    help="Layer to show, counted from 1.  [default: the last]",
)
@click.option(
    "--clip",
    type=float,
    default=5.0,
    show_default=True,
    help="Norm to which the gradient of a training step is clipped, to show the effect; 0: no "
    "limit.",
)
@click.option(
    "-o",
    "--output",
    type=PathArgument(),
    help="File to write a picture of the norms to, in .svg or .png.",
)
@overwrite_option
@encoding_option
@unknown_option
@json_option
def gradients(
    texts: tuple[str, ...],
    run: Path | None,
    compare: bool,
    lags: int,
    layer: int | None,
    clip: float,
    output: Path | None,
    overwrite: bool,
    encoding: str,
    unknown: UnknownTreatment,
    as_json: bool,
    seed: int,
    **fresh: Any,
) -> None:
    """Measure how far back the gradient of a loss reaches on TEXTS, joined; - is standard input.

    Only the loss of one symbol is used. The gradient with respect to the states k steps before that
    symbol may vanish, last or explode as the lag k grows. Without TEXTS, the models read random
    symbols.
    """
    fresh = knob_values(fresh)
    if run and {"hidden", "layers"} & fresh.keys():
        raise click.UsageError("a run has its own --hidden and --layers: leave them out")
    if (run or compare) and {"cell", "forget_bias", "recurrent_scale"} & fresh.keys():
        raise click.UsageError(
            "--cell, --forget-bias and --recurrent-scale are for one untrained model: leave out "
            "--run and --compare"
        )
    if output:
        gradient_picture.require_drawable(output)
        read = [checkpoint_path(run)] if run else []
        require_output(output, (*texts, *read), overwrite)
    models = models_to_measure(run, compare, seed, **fresh)
    vocab = next(iter(models.values())).vocab
    if texts:
        ids, _ = _beginning(vocab, texts, None, SYMBOLS_TO_READ + max(0, lags), encoding, unknown)
    else:
        ids = gradient_flow.random_ids(vocab, lags, seed)
    results = gradient_flow.measure_gradient_flow(models, ids, lags, layer, clip)
    if output:
        gradient_picture.draw(results, output)
    if as_json:
        click.echo(json.dumps([_flow_as_json(flow) for flow in results]))
    else:
        click.echo("\n".join(gradient_tables(results, columns_of(sys.stdout))))


def _flow_as_json(flow: GradientFlow) -> dict[str, Any]:
    """Return a gradient flow for JSON; the first entry of each list is for the lag of 1 step."""
    return {
        "label": flow.label,
        "cell": flow.cell,
        "layer": flow.layer,
        **{name: norms.tolist() for name, norms in flow.norms.items()},
        "gone_at": {name: flow.gone_at(name) for name in flow.norms},
        "training_step": {"norm": flow.step.norm, "clipped": flow.step.clipped},
    }


def gradient_tables(flows: Sequence[GradientFlow], columns: int | None = None) -> Iterator[str]:
    """Yield the lines of tables: the norms at each lag, and the gradient of a training step.

    Long labels are cut, and lags are left out, until the lines fit.

    columns: the width of the terminal, of which MOST_COLUMNS are used; None: MOST_COLUMNS.
    """
    columns = min(columns or MOST_COLUMNS, MOST_COLUMNS)
    labels = [_cut(flow.label) for flow in flows]
    width = max(map(len, labels))
    lags = len(flows[0].norms["dh"])
    shown = [lag for lag in SHOWN_LAGS if lag <= lags]
    fitting = (columns - width - GONE_WIDTH) // LAG_WIDTH
    while len(shown) > max(1, min(MOST_LAGS, fitting)):
        del shown[1 if len(shown) > 2 else 0]  # lag 1 and the longest lags are kept longest
    for name, title in NORMS.items():
        rows = [row for row in zip(labels, flows, strict=True) if name in row[1].norms]
        if not rows:
            continue
        yield wrapped(title, columns)
        heads = "".join(f"{lag:{LAG_WIDTH}}" for lag in shown)
        yield f"{'lag':{width}}{heads}{'gone':>{GONE_WIDTH}}"
        for label, flow in rows:
            values = "".join(f"{flow.norms[name][lag - 1]:7.1g}" for lag in shown)
            yield f"{label:{width}}{values}{flow.gone_at(name) or f'> {lags}':>{GONE_WIDTH}}"
        yield ""
    yield wrapped("gone: the first lag with less than 1/1000 of the norm at lag 1", columns)
    yield ""
    yield "norm of the gradient of a training step"
    yield f"{'':{width}}  before   clipped"
    for label, flow in zip(labels, flows, strict=True):
        yield f"{label:{width}}{flow.step.norm:8.2g}{flow.step.clipped:10.2g}"


def _cut(label: str) -> str:
    """Return a label of at most LABEL_WIDTH characters."""
    return label if len(label) <= LABEL_WIDTH else label[: LABEL_WIDTH - 1] + "…"


def _beginning(
    vocab: Vocab,
    texts: tuple[str, ...],
    given: str | None,
    length: int,
    encoding: str,
    unknown: UnknownTreatment,
) -> tuple[Ids, bool]:
    """Return the ids of the first `length` characters of a text, and whether the text ends there.

    given: the text itself; None to read the files `texts`.
    """
    if given is None:
        pieces = read_text_for(vocab, texts, unknown, encoding)
    else:
        in_bytes = vocab.level == "byte"
        pieces = iter([vocab.encode(given).tobytes().decode("latin-1") if in_bytes else given])
    text = ""
    while len(text) <= length and (piece := next(pieces, "")):
        text += piece
    return encode_text(vocab, text[:length], unknown), len(text) <= length


def models_to_measure(
    run: Path | None = None,
    compare: bool = False,
    seed: int = 0,
    *,
    hidden: int | None = None,
    layers: int | None = None,
    cell: Any = None,
    forget_bias: float | None = None,
    recurrent_scale: float | None = None,
) -> dict[str, CharModel]:
    """Return the models to measure, by label.

    With `compare`, the models are several untrained models and, if a run is given, the run's model.
    Without `compare`, there is one model: the run's model or, without a run, an untrained model.
    Untrained models have the size and the vocabulary of the run's model; without a run, they read
    bytes.
    """
    size = (64 if hidden is None else hidden, 1 if layers is None else layers)
    models, vocab = {}, Vocab.bytes()
    if run:
        models[Path(os.path.realpath(run)).name] = model = load_model(run)
        vocab, size = model.vocab, (model.config.hidden, model.config.layers)
    if compare:
        return models | models_to_compare(*size, vocab, seed)
    if run:
        return models
    config = ModelConfig(cell or "lstm", *size)
    scale = 1.0 if recurrent_scale is None else recurrent_scale
    fresh = fresh_model(config, vocab, seed, forget_bias=forget_bias, recurrent_scale=scale)
    return {config.cell.upper(): fresh}
