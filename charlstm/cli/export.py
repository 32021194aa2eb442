"""charlstm export: write a model in a form that others read, such as a page that computes it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from charlstm.cli.evaluate import progress_bar
from charlstm.cli.help import GroupedCommand
from charlstm.cli.loading import load_model
from charlstm.cli.run_text import own_split
from charlstm.cli.shared_options import PathArgument, json_option, overwrite_option, run_option
from charlstm.errors import CharlstmError, errors_begin_with
from charlstm.export.compact import WEIGHTS, CompactModel, Weights, compact
from charlstm.export.html_page import html_page
from charlstm.export.hub_folder import CARD, CONFIG, MODEL, config_json, model_card
from charlstm.network.model import CharModel
from charlstm.network.scoring import evaluate
from charlstm.pages.page import write_page
from charlstm.runs.checkpoint import Checkpoint, save_checkpoint
from charlstm.runs.folder import checkpoint_path, describe, newest_run
from charlstm.system.output_files import require_output, write_output
from charlstm.system.terminal import visible
from charlstm.system.threads import Workers, available_cores
from charlstm.system.wording import size_in_words

MEASURED_SYMBOLS = 500_000  # largest part of the validation text on which the cost is measured


def _write_html(file: Path, compacted: CompactModel, run: Path) -> int:
    return write_page(file, html_page(compacted, _name(run)))


def _write_safetensors(file: Path, compacted: CompactModel, run: Path) -> int:
    save_checkpoint(file, Checkpoint(compacted.model, {}), compacted.weights)
    return file.stat().st_size


def _write_onnx(file: Path, compacted: CompactModel, run: Path) -> int:
    try:
        from charlstm.export.onnx_graph import onnx_model
    except ImportError as error:
        raise CharlstmError("the package onnx is missing: pip install 'charlstm[onnx]'") from error
    return write_output(file, onnx_model(compacted.model).SerializeToString())


def _write_pt(file: Path, compacted: CompactModel, run: Path) -> int:
    from charlstm.torch_engine.files import lines_to_load, torch_file

    with errors_begin_with(f"{file}: ", CharlstmError):
        size = write_output(file, torch_file(compacted.model))
    click.echo(lines_to_load(compacted.model, file), err=True)
    return size


def _write_folder(file: Path, compacted: CompactModel, run: Path) -> int:
    try:
        file.mkdir(exist_ok=True)
    except OSError as error:
        raise CharlstmError(f"{file}: cannot be made: {error.strerror}") from error
    card = model_card(compacted.model, _name(file), describe(run))
    sizes = [
        write_output(file / CONFIG, config_json(compacted.model).encode()),
        write_output(file / CARD, card.encode()),
        _write_safetensors(file / MODEL, compacted, run),
    ]
    return sum(sizes)


def _name(path: Path) -> str:
    folder = path.parent if path.is_file() else path
    return visible(folder.resolve().name) or "model"


# By the ending of the name of a file: the function that writes the file and returns its size, and
# the kinds of weights that it can hold, the default first.
FORMS: dict[str, tuple[Callable[[Path, CompactModel, Path], int], tuple[Weights, ...]]] = {
    ".html": (_write_html, ("int8", "float16", "float32")),
    ".safetensors": (_write_safetensors, ("float32", "float16")),
    ".onnx": (_write_onnx, ("float32",)),
    ".pt": (_write_pt, ("float32",)),
    "": (_write_folder, ("float32", "float16")),
}


@click.command(cls=GroupedCommand)
@click.argument("file", type=PathArgument())
@run_option
@click.option(
    "--weights",
    type=click.Choice(WEIGHTS),
    show_default="int8 for a page, else float32",
    help="Numbers in which the weights are stored. int8: 8 bits, with a factor for each row of a "
    "matrix; for a page only. float16: 16 bits; for a page, .safetensors or a folder. float32: 32 "
    "bits.",
)
@overwrite_option
@json_option
def export(
    file: Path, run: Path | None, weights: Weights | None, overwrite: bool, as_json: bool
) -> None:
    """Write the model of a run to FILE, in the form that the ending of its name says.

    A name such as model.html makes a page with the model inside, to play with it in a browser;
    model.safetensors a file with the weights alone, to sample from; model.onnx an ONNX graph for
    ONNX Runtime and other programs; model.pt the weights of PyTorch's nn.LSTM, nn.GRU or nn.RNN and
    nn.Linear, if these can express the model. A name without an ending makes a folder in Hugging
    Face's layout, which charlstm.load reads.

    The page needs no server and no internet connection. With the stored weights, it writes the text
    that "charlstm sample" writes with the same seed.

    If weights are stored in fewer bits, the command prints the cost: the difference between the
    losses of the stored and of the original weights on the run's validation text.

    A model can give away parts of the text that it was trained on: share it only where that text
    may be read.
    """
    if file.suffix.lower() not in FORMS:
        endings = ", ".join(filter(None, FORMS))
        raise click.UsageError(
            f"{file}: the ending of FILE says which form to write: {endings}, or none for a folder"
        )
    write, kinds = FORMS[file.suffix.lower()]
    weights = weights or kinds[0]
    if weights not in kinds:
        raise click.UsageError(f"{file}: the weights can be {' or '.join(kinds)}, not {weights}")
    run = run or newest_run()
    parts = [CONFIG, CARD, MODEL] if write is _write_folder else [""]
    for part in parts:
        require_output(file / part, [checkpoint_path(run)], overwrite)
    model = load_model(run)
    compacted = compact(model, weights)
    losses = {} if weights == "float32" else _losses(run, model, compacted.model)
    size = write(file, compacted, run)
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
