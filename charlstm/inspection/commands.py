"""charlstm inspect: the commands."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import encoding_option, run_option, unknown_option

if TYPE_CHECKING:
    from ..arrays import Ids
    from ..vocab import Vocab


@click.group()
def inspect() -> None:
    """Look into a model: its gradients over time, its cells and gates on a text."""


@inspect.command()
@click.argument("texts", nargs=-1)
@click.option("--text", "given", help="The text itself, instead of files.")
@run_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="gates.html",
    show_default=True,
    help="The page to write.",
)
@click.option(
    "--length",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="Read at most so many characters (bytes at level byte), from the beginning.",
)
@encoding_option
@unknown_option
def gates(
    texts: tuple[str, ...],
    given: str | None,
    run: Path | None,
    output: Path,
    length: int,
    encoding: str,
    unknown: str,
) -> None:
    """Show on a page what cells and gates do on TEXTS, joined; - is standard input.

    The page is one HTML file that needs no network. It colours the text by surprisal, by the value
    of any cell or by the gates' openness, and names the cells that follow quotes, lines and
    brackets.
    """
    from ..folder import load, newest_run
    from .gates import measure
    from .page import write_page

    if bool(texts) == (given is not None):
        raise click.UsageError("give files, or a text with --text")
    run = run or newest_run()
    model = load(run)
    ids, whole = _beginning(model.vocab, texts, given, length, encoding, unknown)
    size = write_page(output, model, measure(model, ids), str(run))
    part = "" if whole else ", the beginning of the text (--length)"
    click.echo(f"{len(ids):,} {model.vocab.unit}s{part}; {size / 1e6:.1f} MB", err=True)
    click.echo(output)


def _beginning(
    vocab: "Vocab",
    texts: tuple[str, ...],
    given: str | None,
    length: int,
    encoding: str,
    unknown: str,
) -> tuple["Ids", bool]:
    """The ids of the beginning of files, or of a text given itself; and whether that is all."""
    import numpy as np

    from ..console import read_pieces, tell_replacements

    in_bytes = vocab.level == "byte"  # there, a piece has a character for each byte
    if given is None:
        pieces = read_pieces(texts, encoding, "byte" if in_bytes else "char")
    else:
        pieces = iter(
            [given.encode("utf-8", "surrogatepass").decode("latin-1") if in_bytes else given]
        )
    text = ""
    while len(text) <= length and (piece := next(pieces, "")):
        text += piece
    whole, text = len(text) <= length, text[:length]
    if in_bytes:
        return np.frombuffer(text.encode("latin-1"), np.uint8), whole
    if unknown == "replace":
        tell_replacements(vocab.replacements(text))
    return vocab.encode(text, unknown=unknown), whole
