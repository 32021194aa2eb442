"""Advice at the end of a run: warnings that it overfitted, or that it would learn more.

The thresholds are fractions of the loss, as losses differ several times between texts. They are
wide: runs with the settings that charlstm chooses and enough time get no warning.
"""

from collections.abc import Sequence

from charlstm.config import ENDS, TrainConfig
from charlstm.training.validation import Evaluation

OVERFITTING = 0.02  # rise of the validation loss since its best, and fall of the training loss
UNDERFITTING = 0.05  # fall of both losses over the second half of the steps
MORE_DROPOUT, MAX_ADVISED_DROPOUT = 0.2, 0.6


def find_warnings(evaluations: Sequence[Evaluation], config: TrainConfig) -> list[str]:
    """Return a sentence for each warning that the losses of a run give reason for."""
    found = (_overfits(evaluations, config), _underfits(evaluations, config))
    return [warning for warning in found if warning is not None]


def _overfits(evaluations: Sequence[Evaluation], config: TrainConfig) -> str | None:
    """Return a warning if the last two validation losses are well above the best one.

    The training loss must have fallen since then: if both rise, the run diverges.
    """
    if len(evaluations) < 3:
        return None
    best = min(evaluations[:-1], key=lambda e: e.val_loss)
    before, last = evaluations[-2:]
    rose = min(before.val_loss, last.val_loss) > (1 + OVERFITTING) * best.val_loss
    fell = last.train_loss < (1 - OVERFITTING) * best.train_loss
    if not (rose and fell):
        return None
    ways = ["a smaller --hidden", "fewer steps"]
    dropout = min(MAX_ADVISED_DROPOUT, round(config.dropout + MORE_DROPOUT, 2))
    if dropout > config.dropout:
        ways.insert(0, f"--dropout {dropout:g}")
    return (
        f"the model overfits since step {best.step:,}: since then its validation loss rose from "
        f"{best.val_loss:.4f} to {last.val_loss:.4f} nats while the training loss fell from "
        f"{best.train_loss:.4f} to {last.train_loss:.4f}; try {', '.join(ways[:-1])} or {ways[-1]}"
    )


def _underfits(evaluations: Sequence[Evaluation], config: TrainConfig) -> str | None:
    """Return a warning if both losses still fell steeply over the second half of the steps."""
    first_half = [e for e in evaluations if e.step <= evaluations[-1].step / 2]
    if not first_half:
        return None
    middle, last = first_half[-1], evaluations[-1]
    losses = ((middle.train_loss, last.train_loss), (middle.val_loss, last.val_loss))
    if not all(new < (1 - UNDERFITTING) * old for old, new in losses):
        return None
    end = next((name for name in ENDS if getattr(config, name)), "steps")
    return (
        f"the model is not done learning: from step {middle.step:,} to {last.step:,} its "
        f"validation loss still fell from {middle.val_loss:.4f} to {last.val_loss:.4f} nats; "
        f"more --{end} would help"
    )
