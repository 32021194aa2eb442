"""What a run writes of itself: how it begins, how far it is, and all that it takes to go on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from . import kernels
from .checkpoint import Checkpoint
from .config import config_to_json
from .precision import explain_precision

if TYPE_CHECKING:
    from .runs import Run


def description(run: Run) -> dict[str, Any]:
    """What its `start` event tells."""
    model, trainer = run.trainer.model, run.trainer
    return {
        "run": str(run.folder),
        "resumed": trainer.steps_done > 0,
        "finished": run.finished(),
        "characters": run.corpus.characters,
        "unit": run.corpus.vocab.unit,
        "vocabulary": len(run.corpus.vocab),
        "train_characters": run.train_characters,
        "validation_characters": run.corpus.characters - run.train_characters,
        "parameters": model.parameters.count,
        "total_steps": trainer.total_steps,
        "windows_per_pass": trainer.lanes.windows_per_pass,
        "kernels": kernels.DESCRIPTION,
        "precision": explain_precision(trainer.config.precision, model.config),
        "notices": run.notices,
        "model": config_to_json(model.config),
        "config": config_to_json(trainer.config),
        "best_val_loss": run.validation.best_val_loss,
    }


def progress(run: Run, weights: str) -> dict[str, Any]:
    """How far it is: in every checkpoint. weights: which ones these are."""
    return {
        "weights": weights,
        "step": run.trainer.steps_done,
        "total_steps": run.trainer.total_steps,
        "epoch": run.trainer.epoch,
        "seconds": round(run.elapsed, 3),
        "val_loss": run.validation.val_loss,
        "best_val_loss": run.validation.best_val_loss,
        "train_characters": run.train_characters,
    }


def last_checkpoint(run: Run) -> Checkpoint:
    """What `last` holds."""
    arrays, state = run.trainer.saved()
    training = {
        "config": config_to_json(run.trainer.config),
        "corpus": asdict(run.text),
        "digest": run.corpus.digest,
        "kernels": kernels.DESCRIPTION,
        "extended": run.extended,
        "trainer": state,
        "eval_every": run.eval_every,
        "validation": run.validation.saved(),
        "seconds": run.elapsed,
        "pace": run.pace.saved(),
        "losses": run.losses.saved(),
    }
    return Checkpoint(run.trainer.model, progress(run, "last"), training, arrays)
