"""What the losses of a finished run say about its settings: one sentence for each warning.

The bounds are wide, so that nothing is said of a run with the settings that charlstm chooses
itself and time to learn; they are fractions of the loss, as losses of texts differ several times.
"""

from collections.abc import Sequence

from charlstm.config import TrainConfig
from charlstm.training.validation import Evaluation

CLEARLY = 0.02  # a rise above the best, while the training loss falls as much
STEEPLY = 0.05  # a fall over the second half of the steps
MOST_DROPOUT = 0.6  # that is advised


def find_warnings(evaluations: Sequence[Evaluation], config: TrainConfig) -> list[str]:
    """What to change, where a run overfits or underfits; nothing without two evaluations."""
    found = (_overfits(evaluations, config), _underfits(evaluations, config))
    return [warning for warning in found if warning is not None]


def _overfits(evaluations: Sequence[Evaluation], config: TrainConfig) -> str | None:
    """The validation loss rose while the training loss fell, and not for one evaluation only."""
    if len(evaluations) < 3:
        return None
    best = min(evaluations[:-1], key=lambda e: e.val_loss)
    before, last = evaluations[-2:]
    rose = min(before.val_loss, last.val_loss) > (1 + CLEARLY) * best.val_loss
    fell = last.train_loss < (1 - CLEARLY) * best.train_loss
    if not (rose and fell):
        return None
    ways = ["a smaller --hidden", "fewer steps"]
    dropout = min(MOST_DROPOUT, round(config.dropout + 0.2, 2))
    if dropout > config.dropout:
        ways.insert(0, f"--dropout {dropout:g}")
    return (
        f"the model overfits since step {best.step:,}: since then its validation loss rose from "
        f"{best.val_loss:.4f} to {last.val_loss:.4f} nats while the training loss fell from "
        f"{best.train_loss:.4f} to {last.train_loss:.4f}; try {', '.join(ways[:-1])} or {ways[-1]}"
    )


def _underfits(evaluations: Sequence[Evaluation], config: TrainConfig) -> str | None:
    """Both losses still fell steeply: over twice the steps they may fall as much again."""
    halfway = [e for e in evaluations if e.step <= evaluations[-1].step / 2]
    if not halfway:
        return None
    half, last = halfway[-1], evaluations[-1]
    losses = ((half.train_loss, last.train_loss), (half.val_loss, last.val_loss))
    if not all(new < (1 - STEEPLY) * old for old, new in losses):
        return None
    end = next((name for name in ("minutes", "epochs") if getattr(config, name)), "steps")
    return (
        f"the model is not done learning: from step {half.step:,} to {last.step:,} its validation "
        f"loss still fell from {half.val_loss:.4f} to {last.val_loss:.4f} nats; more --{end} would "
        "help"
    )
