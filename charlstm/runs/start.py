"""train: begins a run from settings, or lets resume.py resume one, and trains the model."""

import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from io import IOBase
from pathlib import Path
from typing import Any, Literal

from charlstm.config import (
    AUTO,
    TEXTBOOK,
    CorpusConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    run_options,
    takes_options,
)
from charlstm.errors import ArgumentError, CharlstmError, quoted, shown
from charlstm.network.model import CharModel, copy_weights_by_symbol
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.engines import DEVICES, ENGINES, NATIVE, engine_of
from charlstm.runs.events import Observer
from charlstm.runs.folder import CHECKPOINTS, LAST, checkpoint_path, holds_run, newest_run
from charlstm.runs.lock import lock_check, locked, new_folder
from charlstm.runs.origin import Origin
from charlstm.runs.result import TrainedRun
from charlstm.runs.resume import resume_run
from charlstm.runs.run import Run
from charlstm.runs.start_checks import (
    check_settings,
    check_split,
    require_memory,
    require_training_text,
)
from charlstm.runs.start_notices import SUGGESTION_OF_LINES, start_notices
from charlstm.runs.texts import (
    open_mix,
    open_run_corpus,
    recorded,
    split_mix,
    standard_input_kept,
)
from charlstm.system.paths import require_path
from charlstm.system.signals import exit_on_signals, raise_interruption
from charlstm.system.terminal import visible
from charlstm.text.corpus import split_train_validation
from charlstm.text.lists import looks_like_list
from charlstm.text.reading import ReadingProgress, newlines_for
from charlstm.training.defaults import SPELL_BELOW, choose_settings
from charlstm.training.engine import Engine
from charlstm.training.machine_speed import MAX_MEASURED_HIDDEN, operations_per_second
from charlstm.training.trainer import Trainer
from charlstm.training.validation import Validation
from charlstm.untrusted import one_or_several, real_value, require_choice, require_type

# Training steps get this share of a time budget; evaluations and saves get the rest.
TRAINING_SHARE = 0.9
# Largest share of a time budget for evaluating the weights of init_from before the first step.
FIRST_EVALUATION_SHARE = 0.03


@takes_options(*run_options())
def train(
    corpus: str | Path | Sequence[str | Path] = (),
    run: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    init_from: str | Path | None = None,
    textbook: bool = False,
    quiet: bool = True,
    report: bool | None = None,
    engine: Literal["native", "torch"] | None = None,
    device: Literal["auto", "cuda", "mps", "cpu"] | None = None,
    on_interrupt: Literal["raise", "return"] = "raise",
    observer: Observer | None = None,
    started: float | None = None,
    val_file: str | Path | Sequence[str | Path] | None = None,
    mix: str | Path | Sequence[str | Path] | None = None,
    **options: Any,
) -> TrainedRun:
    """Train a model on text and save the model in a folder.

    corpus: files and folders, or "-" for standard input. To resume a run, leave the corpus out, or
        name the new path of the run's text, which must not have changed.
    run: the folder; by default a new one under runs/, named after the corpus.
    resume: continue a run, bit for bit as if it had not been interrupted. Only the end of a resumed
        run (steps, epochs or minutes), the paths of texts (corpus, val_file, mix), and the engine
        and the device may change.
    overwrite: begin a new run in a folder that holds a run.
    init_from: a run or a checkpoint file from whose weights to start. Characters of the corpus that
        the other model does not know are added to the vocabulary.
    textbook: train a textbook's network: settings that are not given are those of config.TEXTBOOK.
    quiet: False shows progress on standard error, as the command line does.
    report: write report.html into the folder, a page that shows the run, now and after each
        evaluation; an open page renews itself. None: as before if the run is resumed, else True.
    engine: what computes the steps and the losses: "native", the kernels of charlstm, or "torch",
        PyTorch. None: as before if the run is resumed, else "native".
    device: the device of PyTorch: "cuda", "mps" or "cpu"; "auto" takes a GPU if there is one. None:
        as before if a run of the same engine is resumed, else "auto".
    on_interrupt: what happens after Ctrl-C, SIGTERM or SIGHUP during the training. The step ends
        and the run is saved first. Then "raise" raises KeyboardInterrupt, or SystemExit for a
        signal other than Ctrl-C; "return" returns the run, whose `reason` names the signal.
    observer: called with each event of metrics.jsonl, and with the events step and plan.
    started: the time.monotonic() from which `minutes` counts; by default now.
    val_file: one or more files to validate on, instead of a part of the text.
    mix: one or more files and folders of another text, which is read beside the text.

    Raises CharlstmError for all that is refused: arguments, settings, files, and errors of the
    system such as a full disk.

    The other keywords are the settings of the text, the model and the training, as on the command
    line. The value "auto" means the same as leaving the keyword out.
    """
    for name, flag in (("resume", resume), ("overwrite", overwrite), ("textbook", textbook),
                       ("quiet", quiet)):  # fmt: skip
        require_type(name, flag, bool)
    if report is not None:
        require_type("report", report, bool)
    if observer is not None and not callable(observer):
        raise ArgumentError(f"`observer` must be a function, not {shown(observer)}")
    for name, value, choices in (("engine", engine, ENGINES), ("device", device, DEVICES)):
        if value is not None:
            require_choice(name, value, choices)
    require_choice("on_interrupt", on_interrupt, ("raise", "return"))
    started = time.monotonic() if started is None else real_value("started", started)
    paths = _paths("corpus", corpus)
    for name, files in (("val_file", val_file), ("mix", mix)):
        if files is not None:
            options[name] = _paths(name, files) or None
    for name, path in (("run", run), ("init_from", init_from)):
        if path is not None:
            require_path(name, path)
    asked = RunConfig.asked(options, TEXTBOOK if textbook else {})
    with ExitStack() as resources:
        resources.enter_context(exit_on_signals())
        progress = None
        if not quiet and sys.stderr is not None:  # stderr may be missing
            # The module is imported here, as its import of tqdm is slow.
            from charlstm.runs.progress_display import CorpusDisplay, RunDisplay

            progress = resources.enter_context(closing(CorpusDisplay()))
            observer = observer or resources.enter_context(closing(RunDisplay()))
        if resume:
            if init_from or overwrite or textbook:
                raise ArgumentError(
                    "`resume=True` takes the corpus, the weights and the settings from the run: "
                    "leave out `init_from`, `overwrite` and `textbook`"
                )
            folder = Path(run) if run else newest_run()
            if folder.is_file():
                place = f", such as {folder.parent}" if folder.name in CHECKPOINTS else ""
                raise CharlstmError(f"{folder} is a file: name the folder of a run{place}")
            if not (folder / LAST).exists():
                raise CharlstmError(f"{folder}: nothing to resume (it has no {LAST})")
            resources.enter_context(locked(folder))
            asked = replace(asked, corpus=replace(asked.corpus, paths=paths))
            the_run = resume_run(folder, asked, started, progress, engine, device)
        else:
            if not paths:
                raise ArgumentError(
                    "no corpus: name a text file, a folder, or - for standard input; "
                    "`resume=True` goes on with a run"
                )
            _refuse_runs(paths)
            folder = resources.enter_context(new_folder(paths[0], run or None, overwrite))
            base, origin = None, None
            if init_from is not None:
                checkpoint = load_checkpoint(checkpoint_path(Path(init_from)))
                base, origin = checkpoint.model, Origin.of(str(init_from), checkpoint.summary)
            check_settings(asked, base)
            paths = resources.enter_context(standard_input_kept(folder, paths))
            asked = replace(asked, corpus=replace(asked.corpus, paths=paths))
            computing = engine_of(engine or NATIVE, device or AUTO)
            the_run = begin_run(folder, asked, base, started, progress, origin, computing)
            named = {"engine": engine, "device": device}
            the_run.given = asked.given | {k: v for k, v in named.items() if v is not None}
        if observer is not None:
            the_run.events.observer = observer
        the_run.events.require_lock = lock_check(folder)
        if report is not None:
            the_run.has_report = report
        try:
            result = the_run.train()
        finally:
            the_run.trainer.close()
    if on_interrupt == "raise":
        raise_interruption(the_run.stop_signals.signal_name)
    return result


def _paths(name: str, given: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """Return one path or several as a tuple of strings; CharlstmError for an invalid path.

    A text in the place of its path is refused, and so is an open file, whose lines would be paths.
    """
    paths = (given,) if isinstance(given, IOBase) else one_or_several(name, given, str, os.PathLike)
    for path in paths:
        if isinstance(path, str) and "\n" in path and not os.path.lexists(path):
            raise CharlstmError(
                f"{visible(path):.60}: no such file or folder: write a text into a file first"
            )
        require_path(name, path)
    return tuple(map(os.fspath, paths))


def _refuse_runs(paths: Sequence[str]) -> None:
    """Raise CharlstmError if one of the texts is the folder of a run, whose files are no text."""
    for path in paths:
        if holds_run(Path(path)):
            raise CharlstmError(
                f"{path} is a run, not a text: `resume=True` with `run={quoted(path)}` goes on "
                f"with the run, `init_from={quoted(path)}` starts from its weights"
            )


def begin_run(
    folder: Path,
    asked: RunConfig,
    base: CharModel | None,
    started: float,
    progress: ReadingProgress | None,
    origin: Origin | None = None,
    engine: Engine | None = None,
) -> Run:
    """Return a new run in an existing folder, ready to train.

    asked: the settings that the user gave, whose paths must be files and folders: the caller copies
        standard input to a file.
    base: a model from whose weights the run starts; None for random weights.
    origin: the record that names this model.
    engine: what computes the run; None: the kernels of charlstm.
    """
    lines = (asked.model if base is None else base.config).lines is True
    chosen: dict[str, Any] = {} if base is None else {"level": base.vocab.level}
    given = asked.corpus.given
    if base is not None:
        chosen["newlines"] = newlines_for(base.vocab)
    else:
        level = given.get("level", CorpusConfig.level)
        chosen["newlines"] = "keep" if level == "byte" else "lf"
        chosen["spell_below"] = SPELL_BELOW if level == "char" else 0.0
    chosen["val_split"] = "end" if given.get("val_file") else "random" if lines else "each"
    text = _recorded(folder, asked.corpus.completed(chosen))
    check_split(text, lines)
    corpus = open_run_corpus(folder, text, None if base is None else base.vocab, progress)
    if text.val_split == "each" and len(corpus.paths) == 1 and "val_split" not in given:
        text = replace(text, val_split="end")
    seed = asked.train.given.get("seed", TrainConfig.seed)
    mixed = open_mix(folder, text, corpus.vocab, progress) if text.mix else None
    if mixed is not None and mixed.vocab != corpus.vocab:
        corpus = open_run_corpus(folder, text, mixed.vocab, progress)
    train_ids = split_train_validation(corpus, text, lines=lines, seed=seed).train
    mix_ids = None if mixed is None else split_mix(mixed, text, lines).train
    require_training_text(corpus, text, len(train_ids))
    model_asked = asked.model if base is None else base.config
    # The settings depend on the length of all text that is learned: --mix lowers the dropout.
    learned = len(train_ids) + (0 if mix_ids is None else len(mix_ids))
    model_config, train_config = _choose_settings_for_time(
        learned,
        len(corpus.vocab),
        model_asked,
        asked.train,
        started,
        engine,
        mixes_old_text=base is not None and mixed is not None,
    )
    require_memory(train_ids, mix_ids, corpus.vocab, model_config, train_config)
    model = CharModel(model_config, corpus.vocab, seed=train_config.seed)
    if base is not None:
        copy_weights_by_symbol(base, model)
    trainer = Trainer(model, train_ids, train_config, mix_ids, engine)
    extended = base is not None or mixed is not None
    run = Run(folder, text, corpus, trainer, mix=mixed, started=started, extended=extended)
    if base is not None and origin is not None:
        origin = origin.extended(base.vocab, corpus.vocab)
        loss, mix_loss = (_first_loss(run, each) for each in (run.validation, run.validation.mix))
        run.origin = replace(origin, val_loss=loss, mix_val_loss=mix_loss)
    run.start_notices = start_notices(train_config, run)
    if base is None and asked.model.lines == AUTO and looks_like_list(train_ids, corpus.vocab):
        run.start_notices.insert(0, SUGGESTION_OF_LINES)
    return run


def _first_loss(run: Run, text: Validation | None) -> float | None:
    """Return the loss on a text before the first step of a run, in nats; None if there is none.

    In a run with `minutes`, the measurement takes at most FIRST_EVALUATION_SHARE of the time.
    """
    trainer, minutes = run.trainer, run.trainer.config.minutes
    model, workers = trainer.engine.to_evaluate(trainer.model), trainer.workers
    seconds = math.inf if minutes is None else FIRST_EVALUATION_SHARE * 60 * minutes
    loss = None if text is None else text.loss_within(seconds, model, workers)
    return loss if loss is not None and math.isfinite(loss) else None


def _choose_settings_for_time(
    length: int,
    vocab_size: int,
    model: ModelConfig,
    train: TrainConfig,
    started: float,
    engine: Engine | None = None,
    *,
    mixes_old_text: bool,
) -> tuple[ModelConfig, TrainConfig]:
    """Replace each setting AUTO by a chosen value; with `minutes`, choose by the machine's speed.

    length: the length of the training text, in symbols. vocab_size: the number of distinct symbols.
    started: the time.monotonic() from which `minutes` counts.
    engine: as for Trainer.
    mixes_old_text: as in choose_settings.
    """
    choose = partial(choose_settings, vocab_size=vocab_size, mixes_old_text=mixes_old_text)
    if train.minutes in (None, AUTO):
        return choose(length, model, train)
    minutes = train.minutes

    def choose_for(speed: float, model: ModelConfig) -> tuple[ModelConfig, TrainConfig]:
        seconds = minutes * 60 - (time.monotonic() - started)
        operations = max(1.0, TRAINING_SHARE * seconds * speed)
        return choose(length, model, train, operations=operations)

    first, settings = choose(length, model, train)
    speed = operations_per_second(replace(first, hidden=MAX_MEASURED_HIDDEN), settings, engine)
    chosen, settings = choose_for(speed, model)
    if chosen.hidden >= MAX_MEASURED_HIDDEN:
        return chosen, settings
    # A model smaller than MAX_MEASURED_HIDDEN performs fewer operations per second. Dropout and
    # learning rate depend on the number of passes over the text, which depends on the speed of the
    # chosen model: the chosen model is measured too.
    sized = replace(model, hidden=chosen.hidden, layers=chosen.layers, skip=chosen.skip)
    return choose_for(operations_per_second(chosen, settings, engine), sized)


def _recorded(folder: Path, text: CorpusConfig) -> CorpusConfig:
    """Return the settings of a text, with its paths in the form that a run in `folder` records."""
    return replace(
        text,
        paths=recorded(folder, text.paths),
        val_file=recorded(folder, text.val_file),
        mix=recorded(folder, text.mix),
    )
