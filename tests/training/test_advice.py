"""Warnings at the end of a run, for made-up and for measured sequences of losses."""

import pytest

from charlstm import TrainConfig
from charlstm.training.advice import find_warnings
from charlstm.training.validation import Evaluation


def evaluations_of(train_losses, val_losses, every=100):
    pairs = zip(train_losses, val_losses, strict=True)
    return [Evaluation(every * k, *pair) for k, pair in enumerate(pairs, 1)]


def warnings_of(train_losses, val_losses, **options):
    options = {"steps": 1000, "dropout": 0.1} | options
    return find_warnings(evaluations_of(train_losses, val_losses), TrainConfig(**options))


FALLING = (2.0, 1.8, 1.6, 1.5, 1.4, 1.3)


def test_a_warning_of_overfitting_has_numbers_and_advice():
    assert warnings_of(FALLING, (2.1, 1.9, 1.8, 1.85, 1.95, 2.0)) == [
        "the model overfits since step 300: since then its validation loss rose from 1.8000 to "
        "2.0000 nats while the training loss fell from 1.6000 to 1.3000; try --dropout 0.3, a "
        "smaller --hidden or fewer steps"
    ]


@pytest.mark.parametrize(
    ("dropout", "advised"),
    [(0.0, "0.2"), (0.25, "0.45"), (0.5, "0.6"), (0.6, None), (0.75, None)],
)
def test_more_dropout_is_advised_up_to_a_limit(dropout, advised):
    (warning,) = warnings_of(FALLING, (2.1, 1.9, 1.8, 1.85, 1.95, 2.0), dropout=dropout)
    if advised is None:
        assert warning.endswith("; try a smaller --hidden or fewer steps")
    else:
        assert f"; try --dropout {advised}, a smaller --hidden or fewer" in warning


@pytest.mark.parametrize(
    ("train_losses", "val_losses"),
    [
        (FALLING, (2.1, 1.9, 1.8, 1.80, 1.81, 1.82)),  # a rise of one part in a hundred
        (FALLING, (2.1, 1.9, 1.8, 1.79, 1.78, 2.5)),  # only the last evaluation
        (FALLING, (2.1, 1.9, 1.8, 2.5, 2.4, 1.79)),  # it came down again
        ((2.0, 1.8, 1.6, 1.6, 1.7, 1.9), (2.1, 1.9, 1.8, 1.9, 2.0, 2.2)),  # diverges: both rise
        ((1.30, 1.30, 1.29, 1.29), (1.4, 1.45, 1.46, 1.47)),  # trains no further
        ((2.0, 1.0), (1.0, 3.0)),  # too few to tell
        ((1.0,), (1.0,)),
        ((), ()),
    ],
)
def test_no_warning_of_overfitting(train_losses, val_losses):
    assert warnings_of(train_losses, val_losses) == []


STEEP = (3.0, 2.7, 2.5, 2.3, 2.1, 1.9)


@pytest.mark.parametrize(
    ("end", "more"),
    [({"steps": 600}, "steps"), ({"epochs": 3.0}, "epochs"), ({"minutes": 1.0}, "minutes")],
)
def test_a_warning_of_underfitting_names_the_option_to_raise(end, more):
    config = TrainConfig(**end)
    assert find_warnings(evaluations_of(STEEP, STEEP), config) == [
        "the model is not done learning: from step 300 to 600 its validation loss still fell from "
        f"2.5000 to 1.9000 nats; more --{more} would help"
    ]


@pytest.mark.parametrize(
    ("train_losses", "val_losses"),
    [
        (STEEP, (2.9, 2.6, 2.2, 2.18, 2.15, 2.11)),  # the validation loss fell by 4 %
        ((2.9, 2.6, 2.2, 2.18, 2.15, 2.11), STEEP),  # the training loss did
        ((3.0,), (3.0,)),  # nothing to compare with
        ((3.0, 2.0), (3.0, 2.9)),
    ],
)
def test_no_warning_of_underfitting(train_losses, val_losses):
    assert warnings_of(train_losses, val_losses) == []


# (training, validation) losses of runs with charlstm's own settings
MEASURED = {
    "200 kB of Shakespeare, no options": (
        (3.1866, 2.2630, 2.0270, 1.9056, 1.8277, 1.7796, 1.7349, 1.7199, 1.7085, 1.6950),
        (2.4788, 2.1786, 2.0029, 1.9098, 1.8679, 1.8481, 1.8055, 1.7985, 1.7904, 1.7875),
    ),
    "1 MB of Shakespeare, 2,500 steps": (
        (2.5777, 1.8343, 1.6593, 1.5714, 1.5011, 1.4815, 1.4313, 1.4064, 1.4010, 1.3828),
        (2.0434, 1.8286, 1.7257, 1.6464, 1.6223, 1.5874, 1.5720, 1.5605, 1.5523, 1.5482),
    ),
    "corpora/reber.txt, learnt to its entropy": (
        (1.6649, 0.5622, 0.4167, 0.3889, 0.3839, 0.3813, 0.3796, 0.3792, 0.3790, 0.3773),
        (0.9040, 0.4412, 0.3854, 0.3868, 0.3800, 0.3796, 0.3796, 0.3774, 0.3777, 0.3771),
    ),
}


@pytest.mark.parametrize("name", MEASURED)
def test_runs_with_good_settings_get_no_warning(name):
    assert warnings_of(*MEASURED[name]) == []


def test_a_run_that_is_far_too_short_gets_a_warning_although_its_learning_rate_fell():
    """500 steps on corpora/play.txt, whose entropy is 0.43 nats per character."""
    (warning,) = warnings_of(
        (3.4175, 2.5999, 2.1107, 1.8718, 1.6783, 1.5498, 1.4617, 1.3872, 1.3393, 1.3156),
        (3.1133, 2.2357, 1.9084, 1.7018, 1.5399, 1.4154, 1.3348, 1.2800, 1.2524, 1.2425),
    )
    assert "from 1.5399 to 1.2425 nats; more --steps would help" in warning
