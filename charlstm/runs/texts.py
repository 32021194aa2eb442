"""The text of a run: opened when the run begins, and found again when it is resumed or measured."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from charlstm.arrays import Ids
from charlstm.config import CorpusConfig
from charlstm.errors import CharlstmError
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.folder import CHECKPOINTS, LAST, last_saved
from charlstm.runs.ownership import marker_of
from charlstm.runs.training_state import TrainingState, malformed_refused
from charlstm.system.paths import absolute
from charlstm.text.corpus import ChangedTextError, Corpus, open_corpus, split_train_validation
from charlstm.text.reading import ReadingProgress
from charlstm.text.standard_input import copy_standard_input
from charlstm.text.vocab import Vocab


def training_and_validation_ids(
    path: Path, progress: ReadingProgress | None = None
) -> tuple[Ids, Ids]:
    """Return the ids that a run was trained on and those held out, in its model's vocabulary.

    The text of a run that this one started from is not among them.

    path: the run's folder, or a checkpoint in it. Raises CharlstmError if the text is missing.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / LAST).exists():
        raise CharlstmError(
            f"{path}: the training text is not known, as there is no {LAST} beside it"
        )
    saved = load_checkpoint(folder / LAST)
    with malformed_refused(f"{folder / LAST}: does not say what it was trained on"):
        state = TrainingState.from_dict(saved.training)
    corpus = reopen_corpus(folder, state, saved.model.vocab, progress)
    return split_train_validation(corpus, state.corpus, state.config.seed)


def corpus_settings(path: Path) -> CorpusConfig | None:
    """Return the settings with which a run read its text; None if its folder does not hold them.

    path: the run's folder, or a checkpoint in it. Raises CharlstmError if `last` is damaged.
    """
    last = (path if path.is_dir() else path.parent) / LAST
    is_of_run = path.is_dir() or any(path.match(pattern) for pattern in CHECKPOINTS)
    if not (is_of_run and last.exists()):
        return None
    saved = load_checkpoint(last)
    with malformed_refused(f"{last}: does not say how its text was read"):
        return TrainingState.from_dict(saved.training).corpus


def reopen_corpus(
    folder: Path, state: TrainingState, vocab: Vocab, progress: ReadingProgress | None
) -> Corpus:
    """Open the text of a saved run; CharlstmError if it has changed since the run began.

    The run may come from a stranger, who may have named any path: a text is opened only if it has
    the size that the run recorded, and is encoded only if it has the digest.

    vocab: the vocabulary of the run's model.
    """
    advice = f"charlstm train -r {folder} --resume --corpus PATH takes it from another place"
    texts = resolved(folder, (*state.corpus.paths, *state.corpus.val_file))
    for text in texts:
        try:
            mode = Path(text).stat().st_mode
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or error
            raise CharlstmError(
                f"cannot read {text}: {reason} (the text of {folder}; {advice})"
            ) from error
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise CharlstmError(f"{text}, the text of {folder}, is not a regular file: {advice}")
    base_vocab = vocab if state.extended else None
    expected = (state.file_bytes, state.digest)
    try:
        return open_run_corpus(folder, state.corpus, base_vocab, progress, expected)
    except ChangedTextError:
        raise CharlstmError(
            f"{folder}: the corpus of this run has changed since it began: {', '.join(texts)}: "
            f"{advice}"
        ) from None


def recorded(folder: Path, paths: Sequence[str | Path]) -> tuple[str, ...]:
    """Return paths as a run records them: relative to its folder for files in it, else absolute.

    A folder can thus be moved or copied together with the texts in it.
    """
    names = []
    root = Path(os.path.realpath(folder))
    for path in map(absolute, paths):
        real = Path(os.path.realpath(path))
        is_inside = root in real.parents
        names.append(str(real.relative_to(root) if is_inside else path))
    return tuple(names)


def resolved(folder: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return paths that a run recorded, as they can be opened."""
    return tuple(str(folder / path) for path in paths)


def open_run_corpus(
    folder: Path,
    config: CorpusConfig,
    base_vocab: Vocab | None,
    progress: ReadingProgress | None,
    expected: tuple[int, str] | None = None,
) -> Corpus:
    """Open the text of the run in `folder`.

    config: its paths are those that `recorded` returns.
    base_vocab: a vocabulary whose symbols the vocabulary of the text must have too.
    expected: the size and the digest that the text must have (see open_corpus).
    """
    return open_corpus(
        resolved(folder, config.paths),
        validation_paths=resolved(folder, config.val_file),
        level=config.level,
        encoding=config.encoding,
        newlines=config.newlines,
        vocab_size=config.vocab_size,
        base_vocab=base_vocab,
        progress=progress,
        run=folder,
        expected=expected,
    )


@contextmanager
def standard_input_kept(folder: Path, paths: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Copy standard input to stdin-N.txt in the run's folder, if "-" is among the paths.

    Yields the paths with that file in place of "-". The file is removed if an exception comes
    before the run is saved. It has a marker until then (see ownership.py): if this process is
    killed, the next run in the folder removes it.
    """
    if "-" not in paths:
        yield tuple(paths)
        return
    copy = next(path for n in count(1) if not (path := folder / f"stdin-{n}.txt").exists())
    before = last_saved(folder)
    try:
        with suppress(OSError):  # such as a full disk: the copy itself fails with a better error
            marker_of(copy).touch()
        yield copy_standard_input(paths, copy)
    except BaseException:
        if last_saved(folder) == before:
            copy.unlink(missing_ok=True)
            marker_of(copy).unlink(missing_ok=True)
        raise
