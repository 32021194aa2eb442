"""Divergence: what a run does when a number is NaN or infinite, or when its loss explodes.

The checks raise Diverged before anything is saved. The run then returns to the state of its last
evaluation and continues with half the learning rate: see Run.train.
"""

import math
from collections.abc import Collection

from charlstm.errors import CharlstmError
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.saver import Saver
from charlstm.runs.training_state import TrainingState, malformed_refused
from charlstm.training.loss_history import LossHistory
from charlstm.training.trainer import Trainer
from charlstm.training.validation import Validation

MAX_RECOVERIES = 3  # of a run, each of which halves the learning rate; then the run ends

# A loss has exploded when its mean over the last steps is this many times ln(symbols), which is the
# loss of a model that predicts all symbols alike. Rates at which a run still learns gave means of
# up to 6 times that in their first steps, and of 1 or less later on; runs that did not recover by
# themselves gave 50 to 600 times.
EXPLODED = 10.0


class Diverged(Exception):  # noqa: N818  # the run goes on
    """Raised when training has diverged; the message is a clause that names the number and step."""


def check_step(step: int, loss: float, gradient_norm: float) -> None:
    """Raise Diverged if the loss or the gradient of a step is NaN or infinite."""
    for name, value in (("loss", loss), ("gradient", gradient_norm)):
        if not math.isfinite(value):
            raise Diverged(f"the {name} of step {step:,} is not a finite number")


def check_losses(step: int, recent: Collection[float], symbols: int) -> None:
    """Raise Diverged if the loss has exploded.

    recent: the losses of the last steps up to `step`. symbols: the size of the vocabulary.
    """
    mean = sum(recent) / len(recent)
    if mean > EXPLODED * math.log(symbols):
        raise Diverged(
            f"the loss of step {step:,} has exploded: its mean over {len(recent)} steps is "
            f"{mean:.4g} nats, where a model that knows nothing has {math.log(symbols):.3g}"
        )


def check_state(trainer: Trainer) -> None:
    """Raise Diverged if a weight, or another array that would be saved, is NaN or infinite."""
    if not trainer.is_finite():
        raise Diverged(f"a weight after step {trainer.steps_done:,} is not a finite number")


def return_to_good_state(
    trainer: Trainer, validation: Validation, saver: Saver, cause: Diverged
) -> LossHistory:
    """Load the state of the last evaluation, and halve the learning rate.

    Returns the losses of that state. Raises CharlstmError after MAX_RECOVERIES.
    """
    if trainer.halvings >= MAX_RECOVERIES:
        raise CharlstmError(
            f"{saver.folder}: {cause}, also at {0.5**MAX_RECOVERIES:g} of the learning rate; the "
            "last good state is kept. Begin anew with --overwrite and a lower --lr than "
            f"{trainer.config.lr:g}"
        )
    good = load_checkpoint(saver.good_checkpoint)
    # The file has the values of these two from before: a recovery and a new end may have followed.
    halvings, total_steps = trainer.halvings + 1, trainer.total_steps
    with malformed_refused(f"{saver.good_checkpoint}: cannot be restored"):
        state = TrainingState.from_dict(good.training)
        trainer.model.parameters.copy_from(good.model.parameters)
        trainer.load_arrays(good.arrays)
        trainer.load_dict(state.trainer)
        validation.load_dict(state.validation)
    trainer.halvings, trainer.total_steps = halvings, total_steps
    saver.discard_after(trainer.steps_done)
    return state.losses
