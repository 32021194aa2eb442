"""charlstm eval and charlstm score: measure how well a model predicts texts."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from charlstm.analysis.dynamic_evaluation import (
    DynamicConfig,
    DynamicEvaluation,
    gradient_rms,
    own_text,
    sample_size,
)
from charlstm.cli.novelty_report import NoveltyReport
from charlstm.cli.shared_options import (
    Command,
    encoding_option,
    json_option,
    knob_options,
    novelty_option,
    run_option,
    unknown_option,
)
from charlstm.cli.text_input import (
    encode_read,
    read_for,
    read_whole,
    split_lines,
    warn_unknown,
)
from charlstm.network.model import CharModel
from charlstm.network.scoring import counted_symbols, score_texts, utf8_size
from charlstm.network.scoring import evaluate as evaluate_ids
from charlstm.runs.folder import load, newest_run
from charlstm.system.threads import Workers, available_cores

DYNAMIC_KNOBS = ("rate", "decay", "ngram_lr")

_dynamic_flag = click.option(
    "--dynamic",
    is_flag=True,
    help="Dynamic evaluation (Krause et al. 2018): the weights follow each text as it is read; "
    "every loss counts before they learn from it.",
)


def dynamic_options(command: Command) -> Command:
    """Add to a command what it takes as `dynamic`: a DynamicConfig, or None if not asked for."""

    @wraps(command)
    def with_dynamic(*, dynamic: bool, **options: Any) -> Any:
        given = {name: options.pop(f"dynamic_{name}") for name in DYNAMIC_KNOBS}
        given = {name: value for name, value in given.items() if value is not None}
        if given and not dynamic:
            name = next(iter(given)).replace("_", "-")
            raise click.UsageError(f"--dynamic-{name} goes with --dynamic")
        settings = DynamicConfig(**given) if dynamic else None
        return command(dynamic=settings, **options)

    return _dynamic_flag(knob_options(DynamicConfig, DYNAMIC_KNOBS, "dynamic-")(with_dynamic))


@click.command(name="eval")
@click.argument("texts", nargs=-1, required=True)
@run_option
@click.option(
    "--window",
    type=int,
    help="Cold windows of so many characters, as nanoGPT counts "
    "them.  [default: state carried through the text]",
)
@click.option(
    "--batch-size",
    type=int,
    help="Parts of the text that are read side by side; 1: one "
    "after the other, exactly.  [default: up to 32]",
)
@dynamic_options
@encoding_option
@unknown_option
@novelty_option
@json_option
def evaluate(
    texts: tuple[str, ...],
    run: Path | None,
    window: int | None,
    batch_size: int | None,
    dynamic: DynamicConfig | None,
    encoding: str,
    unknown: str,
    novelty: bool,
    as_json: bool,
) -> None:
    """Measure the loss of a model on TEXTS, joined; - is standard input.

    For a model of words, all that is said of characters is said of words ("unit").
    """
    from tqdm import tqdm

    if dynamic and (window is not None or batch_size is not None):
        raise click.UsageError("--dynamic reads one stream: give no --window, no --batch-size")
    place = run or newest_run()
    model = load(place)
    report = NoveltyReport(place, model) if novelty else None
    ids = encode_read(model.vocab, read_whole(read_for(model.vocab, texts, encoding)), unknown)
    counted = counted_symbols(model, ids)
    size = utf8_size(model.vocab, counted)
    workers = Workers(available_cores())
    measure: Callable[..., Any] = partial(evaluate_ids, model, window=window, batch_size=batch_size)
    if dynamic:
        measure = _dynamic_evaluation(model, dynamic, workers).evaluate
    with tqdm(total=len(counted), unit="character", delay=1) as bar:
        loss = measure(ids, workers=workers, progress=bar.update)
    figures: dict[str, Any] = {
        **_unit_of(model),
        "characters": loss.characters,
        "bytes": size,
        "nats_per_character": loss.nats_per_character,
        "bits_per_character": loss.bits_per_character,
        "bits_per_byte": loss.bits_per_character * loss.characters / size if size else None,
        "perplexity": _told(loss.perplexity),
        "window": window,
        "dynamic": asdict(dynamic) if dynamic else None,
    }
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
        "perplexity": "beyond all numbers",
    }
    words = model.vocab.level == "word"
    for name, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        shown = f"{value:,.4f}" if isinstance(value, float) else str(value or absent[name])
        label = name.replace("_", " ")
        click.echo(f"{label.replace('character', 'word') if words else label:20} {shown}")
    if report is not None:
        click.echo(report.text([ids]))


@click.command()
@click.argument("files", nargs=-1)
@run_option
@click.option("--per-char", is_flag=True, help="Add the bits of each character.")
@dynamic_options
@encoding_option
@unknown_option
def score(
    files: tuple[str, ...],
    run: Path | None,
    per_char: bool,
    dynamic: DynamicConfig | None,
    encoding: str,
    unknown: str,
) -> None:
    """Score each line of FILES (or standard input) by itself: a JSON object a line.

    A line is read as if it followed a line end; its own line end is not counted. For a model of
    words, all that is said of characters is said of words ("unit").

    A model of bytes reads them as they are; in the text that is told, those that are no UTF-8 are
    \\udc80 to \\udcff.
    """

    place = run or newest_run()
    model = load(place)
    measure: Callable[..., Any] = partial(score_texts, model)
    if dynamic:
        workers = Workers(available_cores())
        measure = partial(_dynamic_evaluation(model, dynamic, workers).score_texts, workers=workers)
    settings = {"dynamic": asdict(dynamic)} if dynamic else {}
    lines = split_lines(read_for(model.vocab, files or ("-",), encoding))
    if model.vocab.level == "byte":
        lines = (line.encode("latin-1").decode("utf-8", "surrogateescape") for line in lines)
    told, unit = set[str](), _unit_of(model)
    for result in measure(lines, unknown):
        told |= warn_unknown(model.vocab, result.text, unknown, told).keys()
        record: dict[str, Any] = {
            "text": result.text,
            **unit,
            "characters": result.characters,
            "nats": result.loss.nats,
            "bits_per_character": result.bits_per_character,
            "perplexity": _told(result.perplexity),
        }
        record |= settings
        if per_char:
            record["bits"] = [round(float(nats) / math.log(2), 6) for nats in result.nats]
        click.echo(json.dumps(record))


def _unit_of(model: CharModel) -> dict[str, str]:
    """What a model of words tells beside its figures, whose names speak of characters."""
    return {"unit": model.vocab.unit} if model.vocab.level == "word" else {}


def _told(perplexity: float) -> float | None:
    """As JSON has it, which knows no infinity."""
    return perplexity if math.isfinite(perplexity) else None


def _dynamic_evaluation(
    model: CharModel, config: DynamicConfig, workers: Workers
) -> DynamicEvaluation:
    """Dynamic evaluation for a model, with gradients measured on a text that it writes."""
    from tqdm import tqdm

    size = sample_size(config.segment)
    with tqdm(total=size, desc="measuring gradients", unit="character", delay=1) as bar:
        ids = own_text(model, config.segment)
        rms = gradient_rms(model, ids, config.segment, workers=workers, progress=bar.update)
    return DynamicEvaluation(model, rms, config)
