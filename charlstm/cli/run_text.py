"""Reading texts for the model of a run: options, the run's validation text, and known lines."""

from collections.abc import Sequence
from contextlib import closing
from functools import wraps
from pathlib import Path
from typing import Any

import click

from charlstm.cli.option_names import as_options
from charlstm.cli.shared_options import Command
from charlstm.config import CorpusConfig
from charlstm.errors import CharlstmError
from charlstm.runs.folder import load, newest_run
from charlstm.runs.texts import (
    RunTextError,
    corpus_settings,
    own_corpus,
    training_and_validation_ids,
)
from charlstm.system.terminal import visible
from charlstm.text.corpus import Split, open_corpus
from charlstm.text.known_lines import KnownLines
from charlstm.text.reading import NEWLINES, newlines_for
from charlstm.text.vocab import Vocab

_AS_THE_RUN = "[default: the value used in training, if the run's folder records it; else {}]"
_encoding_option = click.option(
    "--encoding",
    help="Encoding of the files, by its name in Python, such as latin-1.  "
    + _AS_THE_RUN.format("utf-8"),
)
_newlines_option = click.option(
    "--newlines",
    type=click.Choice(NEWLINES),
    help="Treatment of line ends. lf: read each \\r\\n and each \\r as \\n. keep: leave them as "
    "they are. A model of bytes reads all bytes as they are.  "
    + _AS_THE_RUN.format("keep if the model knows \\r, and lf if not"),
)


def reading_options(command: Command) -> Command:
    """Add the options --encoding and --newlines; their defaults are the values used in training.

    The command gets the path `run` (by default the newest run), and the strings `encoding` and
    `newlines`; `newlines` is None if the run's folder does not record it. A text is always read at
    the level of the model's vocabulary.
    """

    @wraps(command)
    def with_reading(
        *, run: Path | None, encoding: str | None, newlines: str | None, **options: Any
    ) -> Any:
        if options.get("texts") == () and (encoding or newlines):
            raise click.UsageError("--encoding and --newlines say how TEXTS are read: give TEXTS")
        place = run or newest_run()
        settings = None
        try:
            settings = corpus_settings(place)
        except CharlstmError as error:
            load(place)  # For a damaged model, this call raises an error, and no note is printed.
            if encoding is None or newlines is None:
                note = (
                    f"{error}: without --encoding, text is read as UTF-8; without --newlines, "
                    "carriage returns are kept only if the model knows them"
                )
                click.echo(
                    f"note: {visible(as_options(note, click.get_current_context().command))}",
                    err=True,
                )
        if settings is not None:
            if newlines and settings.level == "byte":
                raise CharlstmError(
                    "--newlines has no effect for a model of bytes, which reads all bytes as they "
                    "are: leave it out"
                )
            encoding, newlines = encoding or settings.encoding, newlines or settings.newlines
        return command(
            run=place, encoding=encoding or CorpusConfig.encoding, newlines=newlines, **options
        )

    return _encoding_option(_newlines_option(with_reading))


def own_split(run: Path) -> Split:
    """Return the ids of a run's training text and of its validation text.

    Raises CharlstmError if the text cannot be found, or if the run has no validation text.
    """
    # The module is imported here, as its import of tqdm is slow.
    from charlstm.runs.progress_display import CorpusDisplay

    with closing(CorpusDisplay()) as display:
        try:
            split = training_and_validation_ids(run, display)
        except RunTextError as error:
            raise CharlstmError(
                f"{error}: without TEXTS, eval needs the run's folder, and the text that the run "
                "was trained on, unchanged and at its old path"
            ) from error
    if len(split.validation) < 2:
        raise CharlstmError(f"{run}: the run has no validation text: name a text to measure")
    return split


def known_lines(
    run: Path, vocab: Vocab, paths: Sequence[Path], encoding: str | None = None
) -> KnownLines:
    """Return the lines of texts, or of the run's own text if `paths` is empty.

    vocab: the vocabulary of the run's model.
    encoding: that of the texts; None for the one of the run's text. The line ends of the texts are
        read as those of the run's text.
    """
    # The module is imported here, as its import of tqdm is slow.
    from charlstm.runs.progress_display import CorpusDisplay

    with closing(CorpusDisplay()) as display:
        if paths:
            settings = corpus_settings(run) or CorpusConfig(newlines=newlines_for(vocab))
            corpus = open_corpus(
                paths,
                level=vocab.level,
                encoding=encoding or settings.encoding,
                newlines=settings.newlines,
                base_vocab=vocab,
                progress=display,
            )
        else:
            try:
                corpus, _, _ = own_corpus(run, display)
            except RunTextError as error:
                raise CharlstmError(
                    f"{error}: sample --new-only --corpus PATH takes the known lines from PATH"
                ) from error
    with closing(CorpusDisplay(vocab.unit)) as display:
        return KnownLines(
            corpus.ids, corpus.vocab, lambda done, total: display(done, total, "reading lines")
        )
