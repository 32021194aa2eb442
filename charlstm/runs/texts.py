"""The texts that a run was trained on and validated on."""

from pathlib import Path

from charlstm.arrays import Ids
from charlstm.config import CorpusConfig
from charlstm.errors import CharlstmError
from charlstm.runs.checkpoint import Checkpoint, load_checkpoint
from charlstm.runs.folder import LAST
from charlstm.text.corpus import Corpus, open_corpus, split_train_validation
from charlstm.text.reading import ReadingProgress
from charlstm.text.vocab import Vocab
from charlstm.untrusted import MALFORMED_ERRORS


def training_and_validation_ids(
    path: Path, progress: ReadingProgress | None = None
) -> tuple[Ids, Ids]:
    """The ids that a run was trained on and those held out, in the vocabulary of its model.

    Not those of a run that it started from.

    path: the run's folder, or a checkpoint in it. CharlstmError if the text is not to be had.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / LAST).exists():
        raise CharlstmError(
            f"{path}: the training text is not known (there is no {LAST}, which would tell it)"
        )
    try:
        text, corpus = text_of_checkpoint(folder, load_checkpoint(folder / LAST), progress)
    except CharlstmError:
        raise
    except MALFORMED_ERRORS as error:
        raise CharlstmError(f"{folder / LAST}: tells no corpus ({error!r})") from None
    return split_train_validation(corpus, text)


def text_of_checkpoint(
    folder: Path, saved: Checkpoint, progress: ReadingProgress | None
) -> tuple[CorpusConfig, Corpus]:
    """The text of the run that `last` is from, as it was when the run began."""
    about = saved.training
    text = CorpusConfig.from_dict(about["corpus"])
    corpus = open_text(folder, text, saved.model.vocab if about["extended"] else None, progress)
    if corpus.digest != about["digest"]:
        raise CharlstmError(
            f"{folder}: the corpus of this run has changed since it began: "
            f"{', '.join((*text.paths, *text.val_file))}"
        )
    return text, corpus


def open_text(
    folder: Path, text: CorpusConfig, extra: Vocab | None, progress: ReadingProgress | None
) -> Corpus:
    return open_corpus(
        text.paths,
        validation_paths=text.val_file,
        level=text.level,
        encoding=text.encoding,
        newlines=text.newlines,
        vocab_size=text.vocab_size,
        extra=extra,
        progress=progress,
        run=folder,
    )
