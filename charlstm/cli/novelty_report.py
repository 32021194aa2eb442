"""The report of --novelty: how much of a text also occurs in the training text."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from charlstm.analysis.novelty import Novelty, measure_novelty
from charlstm.arrays import Ids
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.runs.texts import RunTextError, training_and_validation_ids
from charlstm.system.terminal import visible
from charlstm.system.wording import counted, wrapped

# A stretch of more characters than this is shown shortened to its beginning and its end.
SHOWN_CHARACTERS = 160


class NoveltyReport:
    """Measures and reports the stretches that texts share with the training text of a model.

    Raises CharlstmError at construction, before any text is sampled, if the training text is
    missing.
    """

    def __init__(self, run: Path, model: CharModel) -> None:
        # The module is imported here, as its import of tqdm is slow.
        from charlstm.runs.progress_display import CorpusDisplay

        with closing(CorpusDisplay()) as display:
            try:
                split = training_and_validation_ids(run, display)
            except RunTextError as error:
                raise CharlstmError(
                    f"{error}: --novelty needs the run's folder, and the text that the run was "
                    "trained on, unchanged and at its old path"
                ) from error
        self._training, self._held_out = split.train, split.validation
        self._vocab, self._lines = model.vocab, model.config.lines

    def text(self, texts: Sequence[Ids], columns: int | None) -> str:
        """Return the report as lines to print.

        texts: ids of the model's vocabulary. columns: the width of the terminal; None: no limit.
        """
        return "\n".join(novelty_lines(self._measure(texts), self._vocab.unit, columns))

    def to_dict(self, texts: Sequence[Ids]) -> dict[str, Any]:
        """Return the report for JSON. texts: ids of the model's vocabulary."""
        return self._measure(texts).to_dict()

    def _measure(self, texts: Sequence[Ids]) -> Novelty:
        from charlstm.runs.progress_display import CorpusDisplay

        with closing(CorpusDisplay(self._vocab.unit)) as display:
            return measure_novelty(
                texts,
                self._training,
                self._held_out,
                self._vocab,
                self._lines,
                progress=lambda done, total: display(done, total, "comparing"),
            )


def novelty_lines(novelty: Novelty, unit: str, columns: int | None = None) -> Iterator[str]:
    """Yield the lines of the report: a table of shared stretches, then the longest stretches.

    columns: the width of the terminal. A table that is wider is written as a list.
    """
    own, others = novelty.texts, novelty.held_out
    compared = {"this text": own} | ({} if others is None else {"held-out text": others})
    rows = {f"longest stretch, {unit}s": [f"{c.longest:,}" for c in compared.values()]}
    for n in own.shares:
        rows[f"in stretches of {n} or more"] = [f"{c.shares[n]:.1%}" for c in compared.values()]
    if own.lines is not None:
        known = [f"{c.known_lines:,} of {c.lines:,}" for c in compared.values()]
        rows["known whole lines"] = known
    title, header = "shared with the training text", _row("", compared)
    if columns is None or columns >= len(header):
        yield _row(title, compared)
        for name, values in rows.items():
            yield _row(f"  {name}", values)
    else:
        yield title
        for name, values in rows.items():
            pairs = zip(compared, values, strict=True)
            text = ", ".join(f"{which} {value}" for which, value in pairs)
            yield wrapped(f"{name}: {text}", columns, "    ", "  ")
    if others is None:
        missing = "" if own.lines is None else "whole line in pieces of this length of "
        yield wrapped(f"(there is no {missing}held-out text to compare with)", columns)
    else:
        lengths = [f"{length:,}" for length in novelty.longest_of_pieces]
        size = others.symbols // len(lengths)
        several = len(lengths) > 1
        pieces = f"{len(lengths)} pieces" if several else "1 piece"
        each = " of each, with their median above" if several else ""
        text = (
            f"(held-out text: {pieces} of {counted(size, unit)}; "
            f"longest stretch{each}: {' '.join(lengths)})"
        )
        yield wrapped(text, columns)
    for stretch in novelty.stretches:
        which = f" of text {stretch.number + 1}" if novelty.count > 1 else ""
        yield (
            f"{counted(stretch.length, unit)} at {stretch.start:,}{which}, in the training text at "
            f'{stretch.place:,}: "{_shortened(visible(stretch.text))}"'
        )


def _row(name: str, values: Iterable[str]) -> str:
    return f"{name:34}" + "".join(f"{value:>16}" for value in values)


def _shortened(text: str) -> str:
    """Return the text itself if it is short, else its beginning and its end."""
    if len(text) <= SHOWN_CHARACTERS:
        return text
    half = SHOWN_CHARACTERS // 2
    return f"{text[:half]} ... {text[-half:]}"
