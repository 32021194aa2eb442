"""The text of a run: opened when the run begins, and found again when it is resumed or measured."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from charlstm.arrays import Ids
from charlstm.config import CorpusConfig
from charlstm.errors import CharlstmError
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.folder import LAST, last_saved
from charlstm.runs.ownership import marker_of
from charlstm.runs.training_state import TrainingState, malformed_refused
from charlstm.text.corpus import Corpus, open_corpus, split_train_validation
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
    return split_train_validation(corpus, state.corpus)


def reopen_corpus(
    folder: Path, state: TrainingState, vocab: Vocab, progress: ReadingProgress | None
) -> Corpus:
    """Open the text of a saved run; CharlstmError if it has changed since the run began.

    vocab: the vocabulary of the run's model.
    """
    corpus = open_run_corpus(folder, state.corpus, vocab if state.extended else None, progress)
    if corpus.digest != state.digest:
        raise CharlstmError(
            f"{folder}: the corpus of this run has changed since it began: "
            f"{', '.join((*state.corpus.paths, *state.corpus.val_file))}"
        )
    return corpus


def open_run_corpus(
    folder: Path, config: CorpusConfig, base_vocab: Vocab | None, progress: ReadingProgress | None
) -> Corpus:
    """Open the text of the run in `folder`.

    base_vocab: a vocabulary whose symbols the vocabulary of the text must have too.
    """
    return open_corpus(
        config.paths,
        validation_paths=config.val_file,
        level=config.level,
        encoding=config.encoding,
        newlines=config.newlines,
        vocab_size=config.vocab_size,
        base_vocab=base_vocab,
        progress=progress,
        run=folder,
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
