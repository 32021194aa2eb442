"""charlstm sample: write text from a model."""

import json
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from charlstm.cli.help import GroupedCommand
from charlstm.cli.loading import load_model
from charlstm.cli.novelty_report import NoveltyReport
from charlstm.cli.run_text import known_lines
from charlstm.cli.sample_output import print_lines, print_samples
from charlstm.cli.shared_options import (
    PathArgument,
    TextArgument,
    json_option,
    knob_options,
    knob_values,
    novelty_option,
    run_option,
    unknown_option,
)
from charlstm.cli.text_input import decode_bytes, join_within_memory, read_text_for, warn_unknown
from charlstm.errors import CharlstmError
from charlstm.network.line_sampling import MAX_TRIES, LineFilter, stream_lines
from charlstm.network.sample_text import MAX_OVERRUN
from charlstm.network.sampling import (
    Sampling,
    require_memory_for_texts,
    sample_stops,
    stream_texts,
)
from charlstm.runs.folder import newest_run
from charlstm.system.terminal import columns_of
from charlstm.text.decoder import errors_at
from charlstm.text.vocab import UnknownTreatment, Vocab

DEFAULT_LINES = 20  # the default of --count for a model of lines


def _unescaped(text: str) -> str:
    """Replace \\n, \\t and \\\\ by a line end, a tab and a backslash."""
    return re.sub(r"\\([nt\\])", lambda found: {"n": "\n", "t": "\t"}.get(found[1], "\\"), text)


@click.command(cls=GroupedCommand)
@run_option
@click.option(
    "--prime",
    type=TextArgument(),
    default="",
    callback=lambda context, option, text: _unescaped(text),
    help="Text that the sample continues; without it, the sample begins a line. In --prime, \\n "
    "stands for a line end, \\t for a tab and \\\\ for a backslash: \\n\\n begins a paragraph.",
)
@click.option(
    "--prime-file",
    type=PathArgument(),
    help="File of text that the sample continues; - for standard input. A \\n in the file "
    "stays as it is; line ends are read as those of the training text. For a model of bytes, the "
    "file may hold any bytes.",
)
@click.option("--hide-prime", is_flag=True, help="Print only the new text.")
@click.option(
    "--length",
    type=int,
    default=2000,
    show_default=True,
    help="Largest number of characters to write (bytes or words for a model of these); 0: no "
    "limit, until interrupted.",
)
@click.option(
    "--whole",
    is_flag=True,
    help=f"Go on beyond --length, by at most {MAX_OVERRUN} characters, to the next end of a "
    "sentence or, if there is none, of a line. If no sentence or line ends within "
    f"{MAX_OVERRUN} more characters, the sample ends after --length. A model of lines goes on to "
    "the end of the line.",
)
@knob_options(Sampling)
@click.option(
    "--count",
    type=int,
    help="Number of samples, 1 or more, made in one batch; for a model of lines, the number of "
    f"lines.  [default: 1, or {DEFAULT_LINES} lines]",
)
@click.option(
    "--new-only",
    is_flag=True,
    help="Write only lines that the run's text does not have, neither its training text nor its "
    "validation text, and no line twice. Sampling ends with an error if "
    f"{MAX_TRIES:,} lines in a row were passed over. The option needs a model of lines.",
)
@click.option(
    "--unique",
    is_flag=True,
    help="Write no line twice; lines of the run's text may be among them. Sampling ends as with "
    "--new-only. The option needs a model of lines.",
)
@click.option(
    "--corpus",
    type=PathArgument(),
    multiple=True,
    help="File or folder of lines that --new-only passes over; may be given several times.  "
    "[default: the run's text]",
)
@click.option(
    "--encoding",
    help="Encoding of the files of --prime-file and --corpus, by its name in Python, such as "
    "latin-1.  [default: utf-8 for --prime-file, the encoding of the run's text for --corpus]",
)
@click.option(
    "--separator",
    type=TextArgument(),
    callback=lambda context, option, text: None if text is None else _unescaped(text),
    help="Line to print between two samples, with \\n, \\t and \\\\ as in --prime; an empty text "
    "gives an empty line.  [default: the shortest line of three or more dashes that no sample has; "
    "none for a model of lines]",
)
@click.option(
    "--stop",
    type=TextArgument(),
    multiple=True,
    callback=lambda context, option, texts: tuple(map(_unescaped, texts)),
    help="End a sample before this text, with \\n, \\t and \\\\ as in --prime; may be given "
    "several times.",
)
@click.option(
    "--seed",
    type=int,
    help="Seed of the random draws: the same seed gives the same text.  [default: a new one, "
    "printed on standard error]",
)
@unknown_option
@novelty_option
@json_option
def sample(
    run: Path | None,
    prime: str,
    prime_file: Path | None,
    hide_prime: bool,
    length: int,
    whole: bool,
    count: int | None,
    new_only: bool,
    unique: bool,
    corpus: tuple[Path, ...],
    encoding: str | None,
    separator: str | None,
    stop: tuple[str, ...],
    seed: int | None,
    unknown: UnknownTreatment,
    novelty: bool,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Write text from a model, character by character; a model of lines writes complete lines.

    A model of bytes writes its bytes as they are to a file or a pipe. On a terminal and in JSON,
    bytes that are not UTF-8 appear as \\udc80 to \\udcff.
    """
    if prime and prime_file:
        raise click.UsageError("give --prime or --prime-file, not both")
    if corpus and not new_only:
        raise click.UsageError("--corpus names the lines that --new-only passes over: give both")
    if encoding and not (prime_file or corpus):
        raise click.UsageError("--encoding says how --prime-file and --corpus are read: give one")
    if length == 0:
        _check_endless_sample(whole, as_json, novelty, count)
    settings = Sampling(**knob_values(sampling))
    place = run or newest_run()
    model = load_model(place)
    lines = model.config.lines
    if (new_only or unique) and not lines:
        option = "--new-only" if new_only else "--unique"
        raise CharlstmError(f"{option} is for a model of lines: train one with --lines")
    report = NoveltyReport(place, model) if novelty else None
    known = known_lines(place, model.vocab, corpus, encoding) if new_only else ()
    unique = unique or new_only  # a line that was written already is not new
    chosen = LineFilter(known, unique)
    if prime_file:
        pieces = read_text_for(model.vocab, [prime_file], unknown, encoding or "utf-8")
        prime = join_within_memory(pieces)
        prime = decode_bytes(model.vocab, prime)
    is_new_seed = seed is None
    if seed is None:
        seed = secrets.randbelow(2**32)
    if count is None:
        count = DEFAULT_LINES if lines else 1
    shown_prime = "" if hide_prime else prime
    between = f"\n{separator}\n" if separator is not None else "\n" if lines else None
    options: dict[str, Any] = {
        "length": length,
        "count": count,
        "prime": prime,
        "unknown": unknown,
        "sampling": settings,
        "whole": whole,
        "seed": seed,
        "errors": errors_at(model.vocab.level),
    }
    stream: Iterator[Any] = (
        stream_lines(model, chosen=chosen, stops=stop, **options)
        if unique
        else stream_texts(model, stops=sample_stops(model, stop), **options)
    )
    if (as_json or novelty or count > 1) and not (lines or stop):
        require_memory_for_texts(length, count)
    # The seed is printed after the checks of all arguments: an error message then stands alone.
    if is_new_seed:
        click.echo(f"seed {seed}", err=True)
    warn_unknown(model.vocab, prime, unknown)
    passed_over = {}
    if unique:
        texts = list(stream) if as_json else print_lines(model.vocab, stream, shown_prime, between)
        counts = {"known_lines": chosen.known_lines, "repeated_lines": chosen.repeated_lines}
        asked = {"known_lines": new_only, "repeated_lines": unique}
        passed_over = {name: number for name, number in counts.items() if asked[name]}
    elif as_json:
        texts = ["".join(pieces) for pieces in zip(*stream, strict=True)]
    else:
        texts = print_samples(model.vocab, stream, count, shown_prime, between, keep=novelty)
    _report(model.vocab, texts, shown_prime, seed, report, passed_over, as_json)
    if len(texts) < count:
        raise CharlstmError(
            f"found {len(texts)} of {count} lines: the next {MAX_TRIES:,} lines were all passed "
            "over: try a higher --temperature, or a lower --count"
        )


def _check_endless_sample(whole: bool, as_json: bool, novelty: bool, count: int | None) -> None:
    """Raise click.UsageError if an option beside --length 0 needs a sample that ends."""
    if whole:
        raise click.UsageError("--whole ends a sample after --length: give a --length above 0")
    if as_json or novelty or (count or 1) > 1:
        option = "--json" if as_json else "--novelty" if novelty else "--count"
        raise click.UsageError(
            f"{option} prints only when the sample is finished: give a --length above 0"
        )


def _report(
    vocab: Vocab,
    texts: list[str],
    prime: str,
    seed: int,
    novelty: NoveltyReport | None,
    passed_over: dict[str, int],
    as_json: bool,
) -> None:
    """Print the samples and the facts about them as JSON, or only the facts, in words.

    prime: the text to print before each sample. passed_over: how many lines were sampled but not
    written, for each reason, such as "known_lines".
    """
    # Only the U+FFFD of bits of spelled characters may be unknown.
    ids = [vocab.encode(text, unknown="skip") for text in texts] if novelty else []
    if as_json:
        facts: dict[str, Any] = {"seed": seed, "texts": [prime + text for text in texts]}
        facts |= passed_over
        if novelty is not None:
            facts["novelty"] = novelty.to_dict(ids)
        click.echo(json.dumps(facts))
        return
    if passed_over:
        numbers = (f"{n:,} {name.replace('_', ' ')}" for name, n in passed_over.items())
        click.echo(f"passed over: {', '.join(numbers)}", err=True)
    if novelty is not None:
        click.echo(novelty.text(ids, columns_of(sys.stderr)), err=True)
