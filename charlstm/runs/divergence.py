"""Divergence: checks for NaN, infinity and exploding losses, and the recovery of a run from them.

The checks raise Diverged before a diverged state is saved. The run then returns to the state of its
last evaluation and continues with half the learning rate: see Run.train in run.py.
"""

import math
from collections.abc import Collection

from charlstm.config import TrainConfig
from charlstm.errors import CharlstmError, errors_begin_with
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.saver import Saver
from charlstm.runs.training_state import TrainingState
from charlstm.training.loss_history import LossHistory
from charlstm.training.trainer import Trainer
from charlstm.training.validation import Validation

# A run recovers at most this many times. Each recovery halves the learning rate. The run ends if
# it diverges once more.
MAX_RECOVERIES = 3

# If --ngram-lr is above this value, a step of the table of n-grams may make the loss explode.
HIGH_NGRAM_LR = 1.0

# The loss has exploded when its mean over the last steps exceeds this many times ln(symbols), the
# loss of a model that predicts all symbols with equal probability. In experiments, runs that went
# on learning had means of up to 6 times ln(symbols) in their first steps, and of at most
# ln(symbols) later. Runs that did not recover by themselves had means of 50 to 600 times
# ln(symbols).
EXPLODED = 10.0


class Diverged(Exception):  # noqa: N818  # This is no error: the run recovers and goes on.
    """Raised when training has diverged; the message names the quantity and the step.

    The message is a clause without a full stop, such as "the loss of step 7 is not a finite
    number", and becomes part of longer messages.
    """


def check_step(step: int, loss: float, gradient_norm: float) -> None:
    """Raise Diverged if the loss or the gradient of a step is NaN or infinite."""
    for name, value in (("loss", loss), ("gradient", gradient_norm)):
        if not math.isfinite(value):
            raise Diverged(f"the {name} of step {step:,} is not a finite number")


def check_losses(step: int, recent: Collection[float], symbols: int) -> None:
    """Raise Diverged if the mean of recent losses exceeds EXPLODED times ln(symbols).

    recent: the losses of the last steps up to `step`, in nats per character.
    symbols: the size of the vocabulary.
    """
    mean = sum(recent) / len(recent)
    if mean > EXPLODED * math.log(symbols):
        raise Diverged(
            f"the loss of step {step:,} has exploded: its mean over {len(recent)} steps is "
            f"{mean / math.log(2):.4g} bits, while equal probabilities of all symbols "
            f"give {math.log2(symbols):.3g} bits"
        )


def check_state(trainer: Trainer) -> None:
    """Raise Diverged if an array that a checkpoint holds, such as a weight, is not finite."""
    if not trainer.is_finite():
        raise Diverged(f"a weight after step {trainer.steps_done:,} is not a finite number")


def return_to_good_state(
    trainer: Trainer, validation: Validation, saver: Saver, cause: Diverged
) -> LossHistory:
    """Load the state of the last evaluation into the trainer, and halve the learning rate.

    Returns the losses of the steps after the last evaluation, from the loaded state. Raises
    CharlstmError if the run has recovered MAX_RECOVERIES times already.

    cause: the exception that says how the training diverged.
    """
    if trainer.halvings >= MAX_RECOVERIES:
        raise CharlstmError(
            f"{saver.shown}: {cause}, even at {0.5**MAX_RECOVERIES:g} of the learning rate; the "
            "state of the last evaluation is kept. Begin anew with `overwrite=True` and a lower "
            f"{_likely_cause(trainer.config)}"
        )
    good = load_checkpoint(saver.good_checkpoint)
    # The values of halvings and total_steps in the file may be outdated: the run may have recovered
    # from a divergence, or been given a new end, after the file was written.
    halvings, total_steps = trainer.halvings + 1, trainer.total_steps
    with errors_begin_with(
        f"{saver.good_checkpoint}: the training state cannot be restored: ", CharlstmError
    ):
        state = TrainingState.from_dict(good.training)
        if (good.model.config, good.model.vocab) != (trainer.model.config, trainer.model.vocab):
            raise CharlstmError("the model is not that of the run")
        trainer.model.parameters.copy_from(good.model.parameters)
        trainer.load_arrays(good.arrays)
        trainer.load_dict(state.trainer)
        validation.load_dict(state.validation)
    trainer.halvings, trainer.total_steps = halvings, total_steps
    saver.discard_after(trainer.steps_done)
    return state.losses


def _likely_cause(config: TrainConfig) -> str:
    """Return the option that probably made a run diverge, and its value, for a message."""
    if config.ngram_lr > HIGH_NGRAM_LR:
        return f"`ngram_lr` than {config.ngram_lr:g}"
    return f"`lr` than {config.lr:g}"
