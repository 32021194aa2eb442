"""Begin a run from options, or resume one from its folder, and train it."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from . import kernels
from .arrays import Ids
from .bounds import HOSTILE, MOST, number
from .checkpoint import Checkpoint, load_checkpoint, train_config
from .config import ModelConfig, TrainConfig, config_to_json
from .corpus import Corpus, open_corpus, spool
from .defaults import CorpusOptions, choose, split_options
from .errors import CharlstmError
from .folder import LAST, TrainedRun, last_saved, load, newest_run
from .interruption import cleaned_up_when_terminated
from .lock import locked, new_folder
from .memory import require_memory_to_train
from .model import CharModel, parameter_shapes
from .parameters import TABLE
from .runs import Observer, Run, split
from .speed import MOST_HIDDEN, operations_per_second
from .textfiles import Progress
from .trainer import Trainer
from .vocab import Vocab

ENDS = ("epochs", "steps", "minutes")
TRAINING_PART = 0.9  # of a time budget: the rest goes to evaluations and saves


def train(
    corpus: str | Path | Sequence[str | Path] = (),
    run: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    init_from: str | Path | None = None,
    quiet: bool = True,
    observer: Observer | None = None,
    started: float | None = None,
    **options: Any,
) -> TrainedRun:
    """Train a model on text and keep it in a folder.

    corpus: files and folders, "-" for standard input; none with `resume`.
    run: the folder; by default a new one under runs/, named after the corpus.
    resume: go on with a run bit for bit; of the options only an end may be given anew.
    overwrite: begin anew in a folder that holds a run.
    init_from: a run or file whose weights to start from; characters that it does not know are
        added to its vocabulary.
    quiet: False shows progress on standard error, as the command line does.
    observer: called with each event of metrics.jsonl, and with others in between: see Run.
    started: time.monotonic() when the time budget began to run; now by default.
    options: the fields of ModelConfig, TrainConfig and CorpusOptions, as on the command line.

    Raises CharlstmError for what it refuses.
    """
    started = time.monotonic() if started is None else started
    paths = [corpus] if isinstance(corpus, str | Path) else list(corpus)
    given = {name: value for name, value in options.items() if value not in (None, ())}
    with ExitStack() as resources:
        resources.enter_context(cleaned_up_when_terminated())
        progress = None
        if not quiet and sys.stderr is not None:  # a process may be started without one
            from .display import CorpusDisplay, RunDisplay  # tqdm takes a while to import

            progress = resources.enter_context(closing(CorpusDisplay()))
            observer = observer or resources.enter_context(closing(RunDisplay()))
        if resume:
            if paths or init_from or overwrite:
                raise CharlstmError(
                    "--resume takes the corpus and the weights from the run: give none"
                )
            folder = Path(run) if run else newest_run()
            if not (folder / LAST).exists():
                raise CharlstmError(f"{folder}: nothing to resume (it has no {LAST})")
            resources.enter_context(locked(folder))
            the_run = resume_run(folder, given, started, progress)
        else:
            if not paths:
                raise CharlstmError(
                    "no corpus: name a text file, a folder, or - for standard input; "
                    "--resume goes on with a run"
                )
            folder = resources.enter_context(new_folder(paths[0], run or None, overwrite))
            base = None if init_from is None else load(init_from)
            _check_options(given, base)
            paths = resources.enter_context(_stdin_kept(folder, paths))
            the_run = begin_run(folder, paths, base, given, started, progress)
        if observer is not None:
            the_run.observer = observer
        try:
            return the_run.go()
        finally:
            the_run.trainer.close()


def _check_options(options: dict[str, Any], base: CharModel | None) -> None:
    """Refuse bad options before the corpus is read, which may take long."""
    model_options, train_options, text_options = split_options(
        options, ModelConfig, TrainConfig, CorpusOptions
    )
    choose(1_000_000, model_options, train_options)
    if base is not None:
        for name, value in model_options.items():
            if value != getattr(base.config, name):
                raise CharlstmError(
                    f"{name} is {getattr(base.config, name)} in the run to start from, not {value}"
                )
    if text_options.pop("val_file", None) and "val_frac" in text_options:
        raise CharlstmError("give val_file or val_frac, not both: each says what to validate on")
    CorpusOptions((), **text_options)


def begin_run(
    folder: Path,
    paths: Sequence[str | Path],
    base: CharModel | None,
    options: dict[str, Any],
    started: float,
    progress: Progress | None,
) -> Run:
    """A new run in `folder`, which is there, from the weights of `base` if it is given.

    paths: files and folders; not standard input.
    """
    model_options, train_options, text_options = split_options(
        options, ModelConfig, TrainConfig, CorpusOptions
    )
    if base is not None:
        text_options.setdefault("level", base.vocab.level)
        model_options = config_to_json(base.config)
    validation = text_options.pop("val_file", ())
    if isinstance(validation, str | Path):
        validation = [validation]
    text = CorpusOptions(_absolute(paths), _absolute(validation), **text_options)
    corpus = _open(folder, text, None if base is None else base.vocab, progress)
    train_ids, _ = split(corpus, text)
    model_config, train_config = _choose(
        len(train_ids), len(corpus.vocab), model_options, train_options, started
    )
    _require_memory(train_ids, corpus.vocab, model_config, train_config)
    model = CharModel(model_config, corpus.vocab, seed=train_config.seed)
    if base is not None:
        copy_weights(base, model)
    trainer = Trainer(model, train_ids, train_config)
    run = Run(folder, text, corpus, trainer, started=started, extended=base is not None)
    run.notices = _notices(train_config, trainer, run)
    return run


def _choose(
    characters: int,
    symbols: int,
    model_options: dict[str, Any],
    train_options: dict[str, Any],
    started: float,
) -> tuple[ModelConfig, TrainConfig]:
    """Complete the options, for what there is time for where they have `minutes`."""
    if (minutes := train_options.get("minutes")) is None:
        return choose(characters, model_options, train_options, symbols=symbols)

    def choose_for(speed: float, model_options: dict[str, Any]) -> tuple[ModelConfig, TrainConfig]:
        seconds = minutes * 60 - (time.monotonic() - started)
        operations = max(1.0, TRAINING_PART * seconds * speed)
        return choose(
            characters, model_options, train_options, symbols=symbols, operations=operations
        )

    model, train = choose(characters, model_options, train_options, symbols=symbols)
    speed = operations_per_second(replace(model, hidden=MOST_HIDDEN), train)
    model, train = choose_for(speed, model_options)
    if model.hidden >= MOST_HIDDEN:
        return model, train
    # slower for its operations: how often it will read the text follows from its own speed
    size = {"hidden": model.hidden, "layers": model.layers, "skip": model.skip}
    return choose_for(operations_per_second(model, train), {**model_options, **size})


def resume_run(
    folder: Path, options: dict[str, Any], started: float, progress: Progress | None
) -> Run:
    """The run of a folder, as it was when `last` was saved; `options` may move its end."""
    if others := sorted(set(options) - set(ENDS)):
        raise CharlstmError(
            f"{others[0]} comes from the run that is resumed: "
            f"only {', '.join(ENDS)} may be given anew"
        )
    saved = load_checkpoint(folder / LAST)
    about = saved.training
    try:
        config = train_config(about)
        if options:
            config = replace(config, **{**dict.fromkeys(ENDS), **options})
        text, corpus = _corpus_of(folder, saved, progress)
        train_ids, _ = split(corpus, text)
        _require_memory(train_ids, corpus.vocab, saved.model.config, config)
        trainer = Trainer(saved.model, train_ids, config)
        end = trainer.total_steps
        trainer.restore(saved.arrays, about["trainer"])
        if options:
            trainer.total_steps = end
        run = Run(
            folder,
            text,
            corpus,
            trainer,
            started=started - number(about, "seconds", least=0, most=MOST),
            extended=bool(about["extended"]),
        )
        run.restore(about)
        if options:
            run.validation.waited = 0  # who moves the end wants it to go on
        before = str(about.get("kernels", kernels.DESCRIPTION))  # which old runs do not tell
        if before != kernels.DESCRIPTION and not run.finished():
            run.notices.append(
                f"begun with {before}, goes on with {kernels.DESCRIPTION}: "
                "the last places of the numbers may differ"
            )
    except CharlstmError:
        raise
    except HOSTILE as error:
        raise CharlstmError(f"{folder / LAST}: cannot be resumed from ({error!r})") from None
    return run


def _require_memory(ids: Ids, vocab: Vocab, model: ModelConfig, config: TrainConfig) -> None:
    shapes = parameter_shapes(model, len(vocab))
    require_memory_to_train(len(ids), len(vocab), shapes, model, config)


def run_texts(path: Path, progress: Progress | None = None) -> tuple[Ids, Ids]:
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
        text, corpus = _corpus_of(folder, load_checkpoint(folder / LAST), progress)
    except CharlstmError:
        raise
    except HOSTILE as error:
        raise CharlstmError(f"{folder / LAST}: tells no corpus ({error!r})") from None
    return split(corpus, text)


def _corpus_of(
    folder: Path, saved: Checkpoint, progress: Progress | None
) -> tuple[CorpusOptions, Corpus]:
    """The text of the run that `last` is from, as it was when the run began."""
    about = saved.training
    text = CorpusOptions(**about["corpus"])
    corpus = _open(folder, text, saved.model.vocab if about["extended"] else None, progress)
    if corpus.digest != about["digest"]:
        raise CharlstmError(
            f"{folder}: the corpus of this run has changed since it began: "
            f"{', '.join((*text.paths, *text.val_file))}"
        )
    return text, corpus


def copy_weights(source: CharModel, target: CharModel) -> None:
    """Copy weights between models of one shape; rows and columns of symbols go by the symbol.

    What only the target knows keeps its fresh weights.
    """
    old = {symbol: k for k, symbol in enumerate(source.vocab.symbols)}
    new = {symbol: k for k, symbol in enumerate(target.vocab.symbols)}
    common = sorted(old.keys() & new.keys())
    from_ids, to_ids = [old[s] for s in common], [new[s] for s in common]
    for name, array in source.parameters.items():
        if name == "layers.0.Wx" or name.endswith(".Wi"):
            target.parameters[name][to_ids] = array[from_ids]
        elif name.startswith("head.") or name == TABLE:
            target.parameters[name][..., to_ids] = array[..., from_ids]
        else:
            target.parameters[name] = array


def _absolute(paths: Sequence[str | Path]) -> tuple[str, ...]:
    return tuple(str(Path(path).absolute()) for path in paths)


@contextmanager
def _stdin_kept(folder: Path, paths: Sequence[str | Path]) -> Iterator[list[str | Path]]:
    """The paths with - replaced by a file in the run's folder that keeps what came in.

    If the run cannot be made and saved, nothing of it stays behind.
    """
    places = [k for k, path in enumerate(paths) if str(path) == "-"]
    if not places:
        yield list(paths)
        return
    if len(places) > 1:
        raise CharlstmError("standard input (-) can be given only once")
    if sys.stdin is None:  # a process that was started without one
        raise CharlstmError("there is no standard input to read (-)")
    kept = next(path for n in count(1) if not (path := folder / f"stdin-{n}.txt").exists())
    before = last_saved(folder)
    try:
        spool(sys.stdin.buffer, kept)
        yield [kept if k in places else path for k, path in enumerate(paths)]
    except BaseException:
        if last_saved(folder) == before:
            kept.unlink(missing_ok=True)
        raise


def _open(
    folder: Path, text: CorpusOptions, extra: Vocab | None, progress: Progress | None
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


def _notices(asked: TrainConfig, trainer: Trainer, run: Run) -> list[str]:
    """What turned out otherwise than was asked, in words."""
    notices = []
    got = trainer.config
    if (got.lanes, got.window) != (asked.lanes, asked.window):
        notices.append(
            f"the text has room for only {got.lanes} lanes of windows of {got.window} "
            f"(asked for: {asked.lanes} of {asked.window})"
        )
    if not run.validation.possible:
        notices.append("no validation text: best.safetensors holds the latest weights")
    if not run.text.val_file and run.validation.possible and len(run.corpus.paths) > 1:
        notices.append(
            f"validated on the last {run.text.val_frac:.0%} of all {len(run.corpus.paths):,} files "
            "joined: --val-file takes another text"
        )
    if run.corpus.vocab.level == "char" and len(run.corpus.vocab) > 5_000:
        notices.append(
            f"the text has {len(run.corpus.vocab):,} distinct characters, which makes the model "
            "large and slow: --level byte needs only 256"
        )
    return notices
