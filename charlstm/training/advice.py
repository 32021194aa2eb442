"""Advice at the end of a run: warnings that it overfitted, or that more training would help.

The thresholds are fractions of the loss, because the losses of two texts can differ several times.
The thresholds are high: a run with the default settings and enough time gets no warning.
"""

from collections.abc import Sequence

from charlstm.config import ENDS, TrainConfig
from charlstm.training.validation import Evaluation

# A run overfits if, since its best evaluation, its validation loss rose by more than this fraction
# and its training loss fell by more than this fraction.
OVERFITTING = 0.02
# A run underfits if both losses fell by more than this fraction over the second half of its steps.
UNDERFITTING = 0.05
# A run that overfits is advised a dropout of its own dropout plus MORE_DROPOUT, at most
# MAX_ADVISED_DROPOUT.
MORE_DROPOUT, MAX_ADVISED_DROPOUT = 0.2, 0.6


def find_warnings(evaluations: Sequence[Evaluation], config: TrainConfig) -> list[str]:
    """Return a warning of one sentence for each problem that the losses of a run show."""
    found = (_overfits(evaluations, config), _underfits(evaluations, config))
    return [warning for warning in found if warning is not None]


def _overfits(evaluations: Sequence[Evaluation], config: TrainConfig) -> str | None:
    """Return a warning if the last two validation losses are well above the best one.

    The training loss must have fallen since the best evaluation: if both losses rise, the run
    diverges instead of overfitting.
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
    """Return a warning if training and validation loss fell steeply in the second half of a run."""
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
