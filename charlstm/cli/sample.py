"""charlstm sample: write text from a model."""

import json
import re
import secrets
from pathlib import Path
from typing import Any

import click

from charlstm.cli.novelty_report import NoveltyReport
from charlstm.cli.shared_options import (
    json_option,
    knob_options,
    novelty_option,
    run_option,
    unknown_option,
)
from charlstm.cli.text_input import read_pieces, read_whole, warn_unknown, writer
from charlstm.network.sampling import Sampling, stream_texts
from charlstm.runs.folder import load, newest_run

LINES_AT_ONCE = 20  # that `sample` writes from a model of lines


def _unescaped(text: str) -> str:
    """Text as it was typed, where shells have no easy way to a line end or a tab."""
    return re.sub(r"\\([nt\\])", lambda found: {"n": "\n", "t": "\t"}.get(found[1], "\\"), text)


@click.command()
@run_option
@click.option("--prime", default="", help="Text to go on from.")
@click.option("--prime-file", type=click.Path(path_type=Path), help="File of such text.")
@click.option("--hide-prime", is_flag=True, help="Print only what is new.")
@click.option(
    "--length",
    type=int,
    default=2000,
    show_default=True,
    help="Characters to write at most (bytes or words where the model is one of these); "
    "0: until interrupted.",
)
@knob_options(Sampling)
@click.option(
    "--count",
    type=int,
    help="Samples, made in one batch and printed one after another, with an empty line between "
    f"them, or lines of a model of lines.  [default: 1; {LINES_AT_ONCE} lines]",
)
@click.option(
    "--stop",
    multiple=True,
    callback=lambda *given: tuple(map(_unescaped, given[-1])),
    help="End a sample before this text; several times. In it, \\n is a line end, \\t a tab, "
    "\\\\ a backslash.",
)
@click.option(
    "--seed",
    type=int,
    help="The same seed gives the same text.  [default: a new one, printed on standard error]",
)
@unknown_option
@novelty_option
@json_option
def sample(
    run: Path | None,
    prime_file: Path | None,
    hide_prime: bool,
    length: int,
    count: int | None,
    seed: int | None,
    stop: tuple[str, ...],
    prime: str,
    unknown: str,
    novelty: bool,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Write text from a model, each character as it comes; a model of lines writes whole lines."""
    if prime and prime_file:
        raise click.UsageError("give --prime or --prime-file, not both")
    if length == 0 and (novelty or as_json or (count or 1) > 1):
        option = "--json" if as_json else "--novelty" if novelty else "--count"
        raise click.UsageError(
            f"{option} prints only when the sample is finished: give a --length above 0"
        )
    options = Sampling(**{name: value for name, value in sampling.items() if value is not None})
    run = run or newest_run()
    model = load(run)
    between = "\n\n"
    if model.config.lines:  # a sample is a line
        stop, between = (*stop, "\n"), "\n"
    if count is None:
        count = LINES_AT_ONCE if model.config.lines else 1
    report = NoveltyReport(run, model) if novelty else None
    if prime_file:
        prime = read_whole(read_pieces([prime_file], "utf-8"))
    if seed is None:
        seed = secrets.randbelow(2**32)
        click.echo(f"seed {seed}", err=True)
    warn_unknown(model.vocab, prime, unknown)
    pieces = stream_texts(
        model,
        length=length,
        count=count,
        prime=prime,
        unknown=unknown,
        sampling=options,
        stops=stop,
        seed=seed,
    )
    write = writer()
    shown_prime = "" if hide_prime else prime
    kept: list[list[str]] = [[] for _ in range(count)]
    if not as_json:
        write(shown_prime)
    for step in pieces:
        if not as_json:
            write(step[0])  # the first sample as it grows, the others when it is done
        for k in range(0 if novelty or as_json else 1, count):
            kept[k].append(step[k])
    texts = ["".join(parts) for parts in kept]
    if as_json:
        about: dict[str, Any] = {"seed": seed, "texts": [shown_prime + text for text in texts]}
        if report is not None:
            about["novelty"] = report.to_dict([model.vocab.encode(text) for text in texts])
        click.echo(json.dumps(about))
        return
    for text in texts[1:]:
        write(between + shown_prime + text)
    write("\n")
    if report is not None:
        click.echo(report.text([model.vocab.encode(text) for text in texts]), err=True)
