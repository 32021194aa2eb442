"""When the numbers of a run have gone wrong, so that it has to go back to its last good state."""

import math
from collections.abc import Collection
from typing import Any

from charlstm.errors import CharlstmError
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.saver import Saver
from charlstm.training.trainer import Trainer

RECOVERIES = 3  # in a run, each with half the learning rate; then it stops

# A loss has exploded when its mean over the last steps is so many times that of a model that knows
# nothing, ln(symbols). Rates at which a run still learns gave means of up to 6 times that in their
# first steps, and of 1 or less later on; runs that did not come back gave 50 to 600 times.
EXPLODED = 10.0


class Diverged(Exception):  # noqa: N818  # the run goes on
    """What has gone wrong with the numbers, as a clause for a sentence."""


def check_step(step: int, loss: float, gradient_norm: float) -> None:
    """Raise Diverged where a step gave what is not a number."""
    for name, value in (("loss", loss), ("gradient", gradient_norm)):
        if not math.isfinite(value):
            raise Diverged(f"the {name} of step {step:,} is not a finite number")


def check_state(trainer: Trainer) -> None:
    """Raise Diverged where what would be saved are not all numbers."""
    if not trainer.is_finite():
        raise Diverged(f"a weight after step {trainer.steps_done:,} is not a finite number")


def check_losses(step: int, recent: Collection[float], symbols: int) -> None:
    """Raise Diverged where the loss has exploded. recent: of the last steps up to `step`."""
    mean = sum(recent) / len(recent)
    if mean > EXPLODED * math.log(symbols):
        raise Diverged(
            f"the loss of step {step:,} has exploded: its mean over {len(recent)} steps is "
            f"{mean:.4g} nats, where a model that knows nothing has {math.log(symbols):.3g}"
        )


def go_back(trainer: Trainer, saver: Saver, what: Diverged) -> dict[str, Any]:
    """Restore the state of the last evaluation, with half the rate from there on.

    Returns its `training` record; CharlstmError where that has been done often enough.
    """
    if trainer.halvings >= RECOVERIES:
        raise CharlstmError(
            f"{saver.folder}: {what}, also at {0.5**RECOVERIES:g} of the learning rate; the last "
            "good state is kept. Begin anew with --overwrite and a lower --lr than "
            f"{trainer.config.lr:g}"
        )
    good = load_checkpoint(saver.good)
    # not as these were then, but as they were asked for, or planned, since
    halvings, total_steps = trainer.halvings + 1, trainer.total_steps
    trainer.model.parameters.copy_from(good.model.parameters)
    trainer.load_arrays(good.arrays)
    trainer.load_dict(good.training["trainer"])
    trainer.halvings, trainer.total_steps = halvings, total_steps
    saver.go_back(trainer.steps_done)
    return good.training
