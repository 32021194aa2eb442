"""The text of a run: opens it when the run begins, and again to resume or evaluate the run."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from charlstm.config import CorpusConfig
from charlstm.errors import CharlstmError, errors_begin_with
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.folder import CHECKPOINTS, LAST, last_saved
from charlstm.runs.ownership import marker_of
from charlstm.runs.training_state import TrainingState
from charlstm.system.paths import absolute
from charlstm.text.corpus import Corpus, Split, open_corpus, split_train_validation
from charlstm.text.reading import ChangedTextError, ReadingProgress
from charlstm.text.standard_input import copy_standard_input
from charlstm.text.vocab import Vocab


class RunTextError(CharlstmError):
    """Raised if a run's text is not known, cannot be found or has changed.

    The message gives no advice, because advice depends on the command that needs the text.
    """


def training_and_validation_ids(path: Path, progress: ReadingProgress | None = None) -> Split:
    """Return the ids of a run's training text and of its validation text.

    If the run started from the weights of another run, the text of that run is not included.

    path: the run's folder, or a checkpoint in the folder. Raises RunTextError if the text is
        missing or has changed.
    """
    corpus, state, lines = own_corpus(path, progress)
    return split_train_validation(corpus, state.corpus, lines=lines, seed=state.config.seed)


def own_corpus(
    path: Path, progress: ReadingProgress | None = None
) -> tuple[Corpus, TrainingState, bool]:
    """Return the text of a run, the saved state that says how the run reads it, and `lines`.

    lines: whether the run's model is one of lines.

    path, errors: as for training_and_validation_ids.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / LAST).exists():
        raise RunTextError(
            f"{path}: the training text is not known, as the run's folder has no {LAST}"
        )
    saved = load_checkpoint(folder / LAST)
    with errors_begin_with(
        f"{folder / LAST}: does not say which text the run was trained on: ", CharlstmError
    ):
        state = TrainingState.from_dict(saved.training)
    corpus = reopen_corpus(folder, state, saved.model.vocab, progress)
    return corpus, state, saved.model.config.lines


def corpus_settings(path: Path) -> CorpusConfig | None:
    """Return the settings with which a run read its text.

    path: the run's folder, or a checkpoint in the folder. Returns None if `path` is neither a
        folder nor a checkpoint of a run, or if the folder has no last.safetensors. Raises
        CharlstmError if last.safetensors is damaged.
    """
    last = (path if path.is_dir() else path.parent) / LAST
    is_of_run = path.is_dir() or any(path.match(pattern) for pattern in CHECKPOINTS)
    if not (is_of_run and last.exists()):
        return None
    saved = load_checkpoint(last)
    with errors_begin_with(f"{last}: does not say how the run's text was read: ", CharlstmError):
        return TrainingState.from_dict(saved.training).corpus


def reopen_corpus(
    folder: Path, state: TrainingState, vocab: Vocab, progress: ReadingProgress | None
) -> Corpus:
    """Open the text of a saved run; RunTextError if it is missing or has changed.

    A run from an untrusted source may name any file as its text. Therefore a text is opened only if
    the size of its files is the size that the run recorded, and encoded into ids only if the
    digest is also the same.

    vocab: the vocabulary of the run's model.
    """
    config, expected = state.corpus, (state.file_bytes, state.digest)
    base_vocab = vocab if state.extended else None
    with _text_of_run(folder, (*config.paths, *config.val_file)):
        return open_run_corpus(folder, config, base_vocab, progress, expected)


def reopen_mix(
    folder: Path, state: TrainingState, vocab: Vocab, progress: ReadingProgress | None
) -> Corpus | None:
    """Open the text that a saved run mixes in, as reopen_corpus does; None if there is none."""
    if not state.corpus.mix:
        return None
    if state.mix is None:
        raise CharlstmError(f"{folder}: the run does not record the size of the text of `mix`")
    with _text_of_run(folder, state.corpus.mix):
        return open_mix(folder, state.corpus, vocab, progress, state.mix)


@contextmanager
def _text_of_run(folder: Path, paths: Sequence[str]) -> Iterator[None]:
    """Raise RunTextError if a recorded text is no regular file or folder.

    If the with block raises ChangedTextError, that becomes a RunTextError.
    """
    texts = resolved(folder, paths)
    for text in texts:
        try:
            mode = Path(text).stat().st_mode
        except (OSError, ValueError) as error:  # A path with a NUL character raises ValueError.
            reason = getattr(error, "strerror", None) or error
            raise RunTextError(f"cannot read {text}, the text of {folder}: {reason}") from error
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise RunTextError(f"{text}, the text of {folder}, is not a regular file")
    try:
        yield
    except ChangedTextError:
        raise RunTextError(
            f"{folder}: the corpus of this run has changed since it began: {', '.join(texts)}"
        ) from None


def recorded(folder: Path, paths: Sequence[str | Path]) -> tuple[str, ...]:
    """Return the paths of texts as a run records them.

    Paths inside the run's folder become relative to the folder. A folder can thus be moved or
    copied together with the texts in it. Other paths become absolute.
    """
    names = []
    root = Path(os.path.realpath(folder))
    for path in map(absolute, paths):
        real = Path(os.path.realpath(path))
        is_inside = root in real.parents
        names.append(str(real.relative_to(root) if is_inside else path))
    return tuple(names)


def resolved(folder: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return paths that can be opened, from the paths of texts that a run recorded."""
    return tuple(str(folder / path) for path in paths)


def open_run_corpus(
    folder: Path,
    config: CorpusConfig,
    base_vocab: Vocab | None,
    progress: ReadingProgress | None,
    expected: tuple[int, str] | None = None,
) -> Corpus:
    """Open the text of the run in `folder`.

    config: the settings of the text, with paths in the form that the function `recorded` returns.
    base_vocab: a vocabulary whose symbols are added to those of the text.
    expected: the size in bytes and the digest that the text must have (see open_corpus).
    """
    return open_corpus(
        resolved(folder, config.paths),
        validation_paths=resolved(folder, config.val_file),
        level=config.level,
        encoding=config.encoding,
        newlines=config.newlines,
        vocab_size=config.vocab_size,
        spell_below=config.spell_below,
        base_vocab=base_vocab,
        held_out=0 if config.val_split != "each" or config.val_file else config.val_frac,
        progress=progress,
        run=folder,
        expected=expected,
    )


def open_mix(
    folder: Path,
    config: CorpusConfig,
    base_vocab: Vocab,
    progress: ReadingProgress | None,
    expected: tuple[int, str] | None = None,
) -> Corpus:
    """Open the text of --mix of the run in `folder`, with the parameters of open_run_corpus."""
    return open_run_corpus(folder, _as_main_text(config), base_vocab, progress, expected)


def split_mix(corpus: Corpus, config: CorpusConfig, lines: bool) -> Split:
    """Return the ids of the text of --mix to train on, and its end, which is held out."""
    return split_train_validation(corpus, _as_main_text(config), lines=lines)


def _as_main_text(config: CorpusConfig) -> CorpusConfig:
    """Return the settings with which a run reads the text of --mix."""
    return replace(config, paths=config.mix, val_file=(), val_split="end")


@contextmanager
def standard_input_kept(folder: Path, paths: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Copy standard input to stdin-N.txt in the run's folder, if "-" is among the paths.

    Yields the paths with the path of the copy in place of "-". If the with block raises an
    exception before the run is saved, the copy is removed. Until the run is saved, the copy has a
    marker (see ownership.py). If the process is killed, the next run in the folder therefore
    removes the copy. A CharlstmError that names the copy names standard input instead.
    """
    if "-" not in paths:
        yield tuple(paths)
        return
    copy = next(path for n in count(1) if not (path := folder / f"stdin-{n}.txt").exists())
    at = absolute(copy)  # The working directory may be another one at the end of the block.
    before = last_saved(at.parent)
    try:
        # If the marker cannot be made, for example on a full disk, copy_standard_input fails too,
        # and its error message is better.
        with suppress(OSError):
            marker_of(copy).touch()
        named = copy_standard_input(paths, copy)
        try:
            yield named
        except CharlstmError as error:
            if str(copy) not in str(error) or last_saved(at.parent) != before:
                raise
            # The user never named the copy, which is removed below.
            raise type(error)(str(error).replace(str(copy), "standard input")) from error
    except BaseException:
        if last_saved(at.parent) == before:
            at.unlink(missing_ok=True)
            marker_of(at).unlink(missing_ok=True)
        raise
