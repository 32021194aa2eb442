"""resume_run: continues a run from its folder, bit for bit as if it had not been interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from charlstm.config import AUTO, ENDS, CorpusConfig, RunConfig
from charlstm.errors import ArgumentError, CharlstmError, errors_begin_with, quoted
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.engines import engine_of
from charlstm.runs.folder import LAST, METRICS
from charlstm.runs.metrics import require_format
from charlstm.runs.run import Run
from charlstm.runs.start_checks import require_memory
from charlstm.runs.texts import RunTextError, recorded, reopen_corpus, reopen_mix, split_mix
from charlstm.runs.training_state import TrainingState
from charlstm.text.corpus import split_train_validation
from charlstm.text.reading import ReadingProgress
from charlstm.training.trainer import Trainer


def resume_run(
    folder: Path,
    asked: RunConfig,
    started: float,
    progress: ReadingProgress | None,
    engine: str | None = None,
    device: str | None = None,
) -> Run:
    """Return the run of a folder in the state that last.safetensors holds.

    asked: the settings that the user changes: the end of the run, or the paths of its text.
    engine, device: those to go on with; None: those of the run.
    """
    new_end = asked.train.given
    if others := sorted(asked.given.keys() - {*ENDS, "paths", "val_file", "mix"}):
        raise ArgumentError(
            f"`{others[0]}` comes from the run that is resumed: only "
            f"{', '.join(f'`{end}`' for end in ENDS)} may be given anew"
        )
    require_format(folder / METRICS)
    saved = load_checkpoint(folder / LAST)
    cannot_resume = f"{folder / LAST}: the run cannot be resumed from this file: "
    with errors_begin_with(cannot_resume, CharlstmError):
        state = TrainingState.from_dict(saved.training)
    if engine is None or engine == state.engine:
        device = device or state.device
    computing = engine_of(engine or state.engine, device or AUTO)
    config = state.config
    state = replace(state, corpus=_text_at(folder, state.corpus, asked.corpus))
    if new_end:
        config = replace(config, **{**dict.fromkeys(ENDS), **new_end})
    with _text_missing(folder, "corpus"):
        corpus = reopen_corpus(folder, state, saved.model.vocab, progress)
    with _text_missing(folder, "mix"):
        mixed = reopen_mix(folder, state, saved.model.vocab, progress)
    lines = saved.model.config.lines
    train_ids = split_train_validation(corpus, state.corpus, lines=lines, seed=config.seed).train
    mix_ids = None if mixed is None else split_mix(mixed, state.corpus, lines).train
    require_memory(train_ids, mix_ids, corpus.vocab, saved.model.config, config)
    trainer = Trainer(saved.model, train_ids, config, mix_ids, computing)
    total_steps = trainer.total_steps
    with errors_begin_with(cannot_resume, CharlstmError):
        trainer.load_arrays(saved.arrays)
        trainer.load_dict(state.trainer)
    if new_end:
        trainer.total_steps = total_steps
    run = Run(
        folder,
        state.corpus,
        corpus,
        trainer,
        mix=mixed,
        started=started - state.seconds,
        extended=state.extended,
    )
    run.origin, run.has_report = state.origin, state.report
    with errors_begin_with(cannot_resume, CharlstmError):
        run.load_progress(state)
    run.remove_traces_of_crash()
    if new_end:
        # Without this, a run that stopped early would stop again at once.
        run.validation.evaluations_since_best = 0
    if state.kernels != computing.description and not run.plan.finished:
        run.start_notices.append(
            f"the run was begun with {state.kernels} and goes on with {computing.description}: "
            "the last digits of losses may differ"
        )
    return run


@contextmanager
def _text_missing(folder: Path, name: str) -> Iterator[None]:
    """Let a RunTextError say by which argument another place of the text is given."""
    try:
        yield
    except RunTextError as error:
        raise CharlstmError(
            f"{error}: `charlstm.train(run={quoted(folder)}, resume=True, {name}=PATH)` takes the "
            "text from another place"
        ) from error


def _text_at(folder: Path, saved: CorpusConfig, asked: CorpusConfig) -> CorpusConfig:
    """Return the settings of a saved run's text, with the new paths that the user gave."""
    given: dict[str, Any] = {
        name: recorded(folder, paths) for name, paths in asked.given.items() if paths
    }
    for name in ("val_file", "mix"):
        if name in given and not getattr(saved, name):
            raise CharlstmError(f"the run that is resumed has no `{name}`: leave out `{name}`")
    return replace(saved, **given)
