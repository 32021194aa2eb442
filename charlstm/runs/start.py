"""Begin a run from options, or resume one from its folder, and train it."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from charlstm import kernels
from charlstm.arrays import Ids
from charlstm.config import AUTO, ENDS, ModelConfig, RunConfig, TrainConfig
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel, copy_weights
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.folder import LAST, METRICS, TrainedRun, last_saved, load, newest_run
from charlstm.runs.lock import locked, new_folder
from charlstm.runs.metrics import require_format
from charlstm.runs.run import Observer, Run
from charlstm.runs.texts import open_text, text_of_checkpoint
from charlstm.system.signals import exit_on_sigterm
from charlstm.text.corpus import split_train_validation, spool
from charlstm.text.reading import ReadingProgress
from charlstm.text.vocab import Vocab
from charlstm.training.defaults import choose_settings
from charlstm.training.machine_speed import MAX_MEASURED_HIDDEN, operations_per_second
from charlstm.training.trainer import Trainer
from charlstm.training.training_memory import require_memory_to_train
from charlstm.untrusted import LARGEST_INTEGER, MALFORMED_ERRORS, real

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
    options: the fields of ModelConfig, TrainConfig and CorpusConfig, as on the command line.

    Raises CharlstmError for what it refuses.
    """
    started = time.monotonic() if started is None else started
    paths = _paths(corpus)
    if options.get("val_file") is not None:
        options["val_file"] = _paths(options["val_file"]) or None
    asked = RunConfig.asked(options)
    with ExitStack() as resources:
        resources.enter_context(exit_on_sigterm())
        progress = None
        if not quiet and sys.stderr is not None:  # a process may be started without one
            from charlstm.runs.progress_display import (  # tqdm takes a while to import
                CorpusDisplay,
                RunDisplay,
            )

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
            the_run = resume_run(folder, asked, started, progress)
        else:
            if not paths:
                raise CharlstmError(
                    "no corpus: name a text file, a folder, or - for standard input; "
                    "--resume goes on with a run"
                )
            folder = resources.enter_context(new_folder(paths[0], run or None, overwrite))
            base = None if init_from is None else load(init_from)
            _check_settings(asked, base)
            kept = resources.enter_context(_stdin_kept(folder, paths))
            asked = replace(asked, corpus=replace(asked.corpus, paths=kept))
            the_run = begin_run(folder, asked, base, started, progress)
        if observer is not None:
            the_run.observer = observer
        try:
            return the_run.go()
        finally:
            the_run.trainer.close()


def _paths(given: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """One path or several, as a tuple of texts."""
    return (str(given),) if isinstance(given, str | Path) else tuple(map(str, given))


def _check_settings(asked: RunConfig, base: CharModel | None) -> None:
    """Refuse settings that contradict each other before the text is read, which may take long."""
    choose_settings(1_000_000, asked.model, asked.train)
    if base is not None:
        for name, value in asked.model.given.items():
            if value != getattr(base.config, name):
                raise CharlstmError(
                    f"{name} is {getattr(base.config, name)} in the run to start from, not {value}"
                )
    if {"val_file", "val_frac"} <= asked.corpus.given.keys():
        raise CharlstmError("give val_file or val_frac, not both: each says what to validate on")


def begin_run(
    folder: Path,
    asked: RunConfig,
    base: CharModel | None,
    started: float,
    progress: ReadingProgress | None,
) -> Run:
    """A new run in `folder`, which exists, from the weights of `base` if it is given.

    asked: settings whose paths are files and folders, not standard input.
    """
    text = asked.corpus.completed({} if base is None else {"level": base.vocab.level})
    text = replace(text, paths=_absolute(text.paths), val_file=_absolute(text.val_file))
    corpus = open_text(folder, text, None if base is None else base.vocab, progress)
    train_ids, _ = split_train_validation(corpus, text)
    model_asked = asked.model if base is None else base.config
    model_config, train_config = _choose(
        len(train_ids), len(corpus.vocab), model_asked, asked.train, started
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
    characters: int, symbols: int, model: ModelConfig, train: TrainConfig, started: float
) -> tuple[ModelConfig, TrainConfig]:
    """Complete the settings asked for; where they have `minutes`, for the time that there is."""
    if train.minutes in (None, AUTO):
        return choose_settings(characters, model, train, symbols=symbols)
    minutes = train.minutes

    def choose_for(speed: float, model: ModelConfig) -> tuple[ModelConfig, TrainConfig]:
        seconds = minutes * 60 - (time.monotonic() - started)
        operations = max(1.0, TRAINING_PART * seconds * speed)
        return choose_settings(characters, model, train, symbols=symbols, operations=operations)

    first, settings = choose_settings(characters, model, train, symbols=symbols)
    speed = operations_per_second(replace(first, hidden=MAX_MEASURED_HIDDEN), settings)
    chosen, settings = choose_for(speed, model)
    if chosen.hidden >= MAX_MEASURED_HIDDEN:
        return chosen, settings
    # A small model makes fewer operations a second than the one measured. The number of passes
    # over the text, on which dropout and rate depend, follows from its own speed.
    sized = replace(model, hidden=chosen.hidden, layers=chosen.layers, skip=chosen.skip)
    return choose_for(operations_per_second(chosen, settings), sized)


def resume_run(
    folder: Path, asked: RunConfig, started: float, progress: ReadingProgress | None
) -> Run:
    """The run of a folder, as it was when `last` was saved; `asked` may move its end."""
    ends = asked.train.given
    if others := sorted(asked.given.keys() - set(ENDS)):
        raise CharlstmError(
            f"{others[0]} comes from the run that is resumed: "
            f"only {', '.join(ENDS)} may be given anew"
        )
    require_format(folder / METRICS)
    saved = load_checkpoint(folder / LAST)
    about = saved.training
    try:
        config = TrainConfig.from_dict(about["config"])
        if ends:
            config = replace(config, **{**dict.fromkeys(ENDS), **ends})
        text, corpus = text_of_checkpoint(folder, saved, progress)
        train_ids, _ = split_train_validation(corpus, text)
        _require_memory(train_ids, corpus.vocab, saved.model.config, config)
        trainer = Trainer(saved.model, train_ids, config)
        end = trainer.total_steps
        trainer.load_arrays(saved.arrays)
        trainer.load_dict(about["trainer"])
        if ends:
            trainer.total_steps = end
        run = Run(
            folder,
            text,
            corpus,
            trainer,
            started=started - real(about, "seconds", least=0, most=LARGEST_INTEGER),
            extended=bool(about["extended"]),
        )
        run.load_dict(about)
        if ends:
            run.validation.evaluations_since_best = (
                0  # a moved end asks for more training, whatever has been waited
            )
        before = str(about["kernels"])
        if before != kernels.DESCRIPTION and not run.finished():
            run.notices.append(
                f"begun with {before}, goes on with {kernels.DESCRIPTION}: "
                "the last places of the numbers may differ"
            )
    except CharlstmError:
        raise
    except MALFORMED_ERRORS as error:
        raise CharlstmError(f"{folder / LAST}: cannot be resumed from ({error!r})") from None
    return run


def _require_memory(ids: Ids, vocab: Vocab, model: ModelConfig, config: TrainConfig) -> None:
    require_memory_to_train(len(ids), len(vocab), model, config)


def _absolute(paths: Sequence[str | Path]) -> tuple[str, ...]:
    return tuple(str(Path(path).absolute()) for path in paths)


@contextmanager
def _stdin_kept(folder: Path, paths: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The paths with - replaced by a file in the run's folder that keeps what came in.

    If the run cannot be made and saved, nothing of it stays behind.
    """
    places = [k for k, path in enumerate(paths) if path == "-"]
    if not places:
        yield tuple(paths)
        return
    if len(places) > 1:
        raise CharlstmError("standard input (-) can be given only once")
    if sys.stdin is None:  # a process that was started without one
        raise CharlstmError("there is no standard input to read (-)")
    kept = next(path for n in count(1) if not (path := folder / f"stdin-{n}.txt").exists())
    before = last_saved(folder)
    try:
        spool(sys.stdin.buffer, kept)
        yield tuple(str(kept) if k in places else path for k, path in enumerate(paths))
    except BaseException:
        if last_saved(folder) == before:
            kept.unlink(missing_ok=True)
        raise


def _notices(asked: TrainConfig, trainer: Trainer, run: Run) -> list[str]:
    """What turned out otherwise than was asked, in words."""
    notices = []
    got = trainer.config
    if (got.batch_size, got.seq_length) != (asked.batch_size, asked.seq_length):
        notices.append(
            f"the text has room for only {got.batch_size} streams of windows of {got.seq_length} "
            f"(asked for: {asked.batch_size} of {asked.seq_length})"
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
