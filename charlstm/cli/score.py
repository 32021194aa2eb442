"""charlstm score: measure how well a model predicts each line of a text."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from charlstm.analysis.dynamic_evaluation import DynamicConfig
from charlstm.analysis.evaluation import dynamic_evaluation_of, unit_entry
from charlstm.cli.evaluate import dynamic_options, progress_bar
from charlstm.cli.help import GroupedCommand
from charlstm.cli.loading import load_model
from charlstm.cli.run_text import reading_options
from charlstm.cli.shared_options import PathArgument, run_option, unknown_option
from charlstm.cli.text_input import decode_bytes, read_text_for, split_lines, warn_unknown
from charlstm.network.scoring import BLOCK_LENGTH, Score
from charlstm.system.threads import Workers, available_cores
from charlstm.text.vocab import UnknownTreatment


@click.command(cls=GroupedCommand)
@click.argument("files", nargs=-1, type=PathArgument(str))
@run_option
@click.option("--per-char", is_flag=True, help="Print the bits of each character too.")
@dynamic_options
@reading_options
@unknown_option
@click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    help="Changes nothing: the output is JSON with and without this option.",
)
def score(
    files: tuple[str, ...],
    run: Path,
    per_char: bool,
    dynamic: DynamicConfig | None,
    encoding: str,
    newlines: str | None,
    unknown: UnknownTreatment,
) -> None:
    """Score each line of FILES, or of standard input, by itself: print a JSON object for each.

    Lines of standard input are scored as soon as they arrive.

    A line is read as if it stood after a line end; its own line end is not counted. For a model of
    words, "character" means word in all figures; the JSON then has "unit": "word". A text of which
    no character is predicted, such as an empty line, has null for bits and perplexity.

    A model of bytes reads bytes as they are. In the "text" that is printed, bytes that are not
    UTF-8 appear as \\udc80 to \\udcff.
    """
    model = load_model(run)
    measure: Callable[..., Iterable[Score]] = model.score
    if dynamic:
        workers, progress = Workers(available_cores()), partial(progress_bar, model.vocab.unit)
        measure = partial(
            dynamic_evaluation_of(model, dynamic, workers, progress).score_texts, workers=workers
        )
    settings = {"dynamic": asdict(dynamic)} if dynamic else {}
    warned, unit = set[str](), unit_entry(model.vocab.unit)
    pieces = read_text_for(model.vocab, files or ("-",), unknown, encoding, newlines, BLOCK_LENGTH)
    groups = ([decode_bytes(model.vocab, line) for line in lines] for lines in split_lines(pieces))
    # Each group of lines is measured as soon as it arrives: the next may arrive much later.
    for result in (result for lines in groups for result in measure(lines, unknown)):
        warned |= warn_unknown(model.vocab, result.text, unknown, warned).keys()
        record: dict[str, Any] = {"text": result.text, **unit, **result.to_dict(), **settings}
        if per_char:
            record["bits"] = [round(float(nats) / math.log(2), 6) for nats in result.nats]
        click.echo(json.dumps(record))
