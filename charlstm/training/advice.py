"""Advice at the end of a run: warnings that name a problem, an option and a value to try.

The problems are overfitting, too little training, and a learning rate that is too low or too high.
The thresholds were fitted on runs that were made again with the advised values:
`scripts/benchmarks/advice.py --print` counts how often each advice is right. The thresholds are
fractions of the loss, because the losses of two texts can differ several times. A doubtful problem
gets no warning.
"""

from collections.abc import Sequence

from charlstm.config import ENDS, ModelConfig, TrainConfig
from charlstm.system.wording import in_bits
from charlstm.training.defaults import learning_rate
from charlstm.training.validation import Evaluation

# A run overfits if, since its best evaluation, its validation loss rose by more than this fraction
# and its training loss fell by more than this fraction.
OVERFITTING = 0.02
# A run underfits if both losses fell by more than this fraction over the second half of its steps.
UNDERFITTING = 0.05
# A run that overfits is advised a dropout of its own dropout plus MORE_DROPOUT, at most
# MAX_ADVISED_DROPOUT.
MORE_DROPOUT, MAX_ADVISED_DROPOUT = 0.2, 0.6
# A learning rate is too low if both losses fell by more than LEARNING over the second half of the
# steps, and if RATE_FACTOR times the rate is usable: at most RATE_FACTOR times the default rate of
# the cell, and less in a run of more than about 1,000 steps.
LEARNING, RATE_FACTOR = 0.015, 3
# Rates of Adam above which a lower one reaches a lower loss, even if the losses fell to the end. In
# the measured runs of RNNs no rate was too high.
HIGHEST = {"lstm": 0.2, "gru": 0.05}


def find_warnings(
    evaluations: Sequence[Evaluation], config: TrainConfig, model: ModelConfig, unit: str
) -> list[str]:
    """Return a warning of one sentence for each problem that the losses of a run show.

    unit: the kind of symbol that the model predicts. The sentences state losses in bits per unit,
        as the progress of a run does.
    """
    if not evaluations:
        return []
    found = (
        _overfits(evaluations, config, unit),
        _underfits(evaluations, config, unit),
        _learns_too_slowly(evaluations, config, model, unit),
        _learns_too_fast(evaluations, config, model, unit),
    )
    return [warning for warning in found if warning is not None]


def _overfits(evaluations: Sequence[Evaluation], config: TrainConfig, unit: str) -> str | None:
    """Return a warning if the last two validation losses are well above the best one.

    The training loss must have fallen since the best evaluation: if both losses rise, the run
    diverges instead of overfitting. Fewer steps are not advised: a run with as many steps as the
    best evaluation had mostly ends with a higher loss than that evaluation.
    """
    if len(evaluations) < 3:
        return None
    best = min(evaluations[:-1], key=lambda e: e.val_loss)
    before, last = evaluations[-2:]
    rose = min(before.val_loss, last.val_loss) > (1 + OVERFITTING) * best.val_loss
    fell = last.train_loss < (1 - OVERFITTING) * best.train_loss
    if not (rose and fell):
        return None
    dropout = min(MAX_ADVISED_DROPOUT, round(config.dropout + MORE_DROPOUT, 2))
    advice = f"; try `dropout={dropout:g}`" if dropout > config.dropout else ""
    return (
        f"the model overfits since step {best.step:,}: since then its validation loss rose "
        f"{_change(best.val_loss, last.val_loss, unit)} while the training loss fell "
        f"{_change(best.train_loss, last.train_loss)}; best.safetensors, which samples are "
        f"written with, holds the weights of step {best.step:,}{advice}"
    )


def _underfits(evaluations: Sequence[Evaluation], config: TrainConfig, unit: str) -> str | None:
    """Return a warning if training and validation loss fell steeply in the second half of a run."""
    middle, last = _middle(evaluations), evaluations[-1]
    if middle is None or not _fell(middle, last, UNDERFITTING):
        return None
    end = next((name for name in ENDS if getattr(config, name)), "steps")
    return (
        f"the model is not done learning: from step {middle.step:,} to {last.step:,} its "
        f"validation loss still fell {_change(middle.val_loss, last.val_loss, unit)}; "
        f"`{end}={2 * (getattr(config, end) or last.step):g}` would help"
    )


def _learns_too_slowly(
    evaluations: Sequence[Evaluation], config: TrainConfig, model: ModelConfig, unit: str
) -> str | None:
    """Return a warning if a higher learning rate is usable and the losses fell to the end.

    SGD gets no warning: its usable rates are not known, as they depend on the scale of the
    gradients.
    """
    middle, last, higher = _middle(evaluations), evaluations[-1], RATE_FACTOR * config.lr
    if middle is None or not _fell(middle, last, LEARNING) or config.optimizer == "sgd":
        return None
    if config.optimizer == "adam":
        usable = learning_rate(model.cell, last.step, max_factor=RATE_FACTOR)
    else:
        usable = RATE_FACTOR * TrainConfig.lr
    if higher > usable:
        return None
    return (
        f"the learning rate is low: at {config.lr:g} the training loss still fell "
        f"{_change(middle.train_loss, last.train_loss, unit)} in the second half of the run; "
        f"`lr={higher:.3g}` would help"
    )


def _learns_too_fast(
    evaluations: Sequence[Evaluation], config: TrainConfig, model: ModelConfig, unit: str
) -> str | None:
    """Return a warning if both losses rose since the best evaluation, or if the rate is very high.

    A run of Adam with a very high rate can end with a fair loss, but a lower rate reaches a lower
    one.
    """
    best, last = min(evaluations, key=lambda e: e.val_loss), evaluations[-1]
    lower = f"try `lr={config.lr / RATE_FACTOR:.3g}`"
    if _fell(last, best, OVERFITTING):
        return (
            f"the learning rate is too high: since step {best.step:,} the training loss rose "
            f"{_change(best.train_loss, last.train_loss, unit)}, and the validation loss "
            f"{_change(best.val_loss, last.val_loss)}; {lower}"
        )
    highest = HIGHEST.get(model.cell, config.lr)
    if config.optimizer == "adam" and config.lr > highest:
        return (
            f"the learning rate is too high: above {highest:g} a lower rate reaches a lower loss "
            f"in nearly all runs, and it was {config.lr:g}; {lower}"
        )
    return None


def _middle(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """Return the last evaluation in the first half of a run's steps; None without one."""
    first_half = [e for e in evaluations if e.step <= evaluations[-1].step / 2]
    return first_half[-1] if first_half else None


def _change(before: float, after: float, unit: str = "") -> str:
    """Return two losses, given in nats, in bits: "from 2.021 to 1.934 bits per character".

    unit: the kind of symbol; "" leaves out "bits per" and the unit.
    """
    first, then = (in_bits(loss, unit) for loss in (before, after))
    return f"from {first.split()[0]} to {then if unit else then.split()[0]}"


def _fell(before: Evaluation, after: Evaluation, fraction: float) -> bool:
    """Return whether both losses fell by more than this fraction; False if one is NaN."""
    losses = ((before.train_loss, after.train_loss), (before.val_loss, after.val_loss))
    return all(new < (1 - fraction) * old for old, new in losses)
