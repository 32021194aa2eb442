"""Warnings at the end of a run, for made-up and for measured sequences of losses."""

import pytest

from charlstm import ModelConfig, TrainConfig
from charlstm.training.advice import find_warnings
from charlstm.training.validation import Evaluation


def evaluations_of(train_losses, val_losses, every=100):
    pairs = zip(train_losses, val_losses, strict=True)
    return [Evaluation(every * k, *pair) for k, pair in enumerate(pairs, 1)]


def warnings_of(train_losses, val_losses, cell="lstm", **options):
    """The warnings for a rate that is too high to be raised, if no other rate is given."""
    options = {"steps": 1000, "dropout": 0.1, "lr": 0.1} | options
    evaluations = evaluations_of(train_losses, val_losses)
    return find_warnings(evaluations, TrainConfig(**options), ModelConfig(cell=cell), "character")


FALLING = (2.0, 1.8, 1.6, 1.5, 1.4, 1.3)


def test_a_warning_of_overfitting_has_numbers_and_advice():
    assert warnings_of(FALLING, (2.1, 1.9, 1.8, 1.85, 1.95, 2.0)) == [
        "the model overfits since step 300: since then its validation loss rose from 2.597 to "
        "2.885 bits per character while the training loss fell from 2.308 to 1.876; "
        "best.safetensors, which samples are written with, holds the weights of step 300; "
        "try `dropout=0.3`"
    ]


def test_a_warning_names_the_unit_of_the_model():
    evaluations = evaluations_of(STEEP, STEEP)
    (warning,) = find_warnings(evaluations, TrainConfig(lr=0.1), ModelConfig(), "word")
    assert "from 3.607 to 2.741 bits per word; " in warning


@pytest.mark.parametrize(
    ("dropout", "advised"),
    [(0.0, "0.2"), (0.25, "0.45"), (0.5, "0.6"), (0.6, None), (0.75, None)],
)
def test_more_dropout_is_advised_up_to_a_limit(dropout, advised):
    (warning,) = warnings_of(FALLING, (2.1, 1.9, 1.8, 1.85, 1.95, 2.0), dropout=dropout)
    if advised is None:
        assert warning.endswith(", holds the weights of step 300")
    else:
        assert warning.endswith(f"; try `dropout={advised}`")


@pytest.mark.parametrize(
    ("train_losses", "val_losses"),
    [
        (FALLING, (2.1, 1.9, 1.8, 1.80, 1.81, 1.82)),  # a rise of one part in a hundred
        (FALLING, (2.1, 1.9, 1.8, 1.79, 1.78, 2.5)),  # only the last evaluation
        (FALLING, (2.1, 1.9, 1.8, 2.5, 2.4, 1.79)),  # it came down again
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
    [
        ({"steps": 600}, "`steps=1200`"),
        ({"epochs": 3.0}, "`epochs=6`"),
        ({"minutes": 0.25}, "`minutes=0.5`"),
        ({}, "`steps=1200`"),
    ],
)
def test_a_warning_of_underfitting_names_twice_the_end(end, more):
    assert warnings_of(STEEP, STEEP, **{"steps": None, **end}) == [
        "the model is not done learning: from step 300 to 600 its validation loss still fell from "
        f"3.607 to 2.741 bits per character; {more} would help"
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


SLOWLY = (3.0, 2.9, 2.8, 2.75, 2.73, 2.7)  # falls by 3.6 % over the second half


@pytest.mark.parametrize(
    ("options", "advised"),
    [
        ({"lr": 0.002}, "0.006"),
        ({"lr": 0.02}, "0.06"),  # a short run can use three times the default
        ({"lr": 0.021}, None),
        ({"lr": 0.01, "cell": "gru"}, "0.03"),
        ({"lr": 0.011, "cell": "gru"}, None),
        ({"lr": 0.002, "cell": "rnn"}, "0.006"),
        ({"lr": 0.002, "optimizer": "rmsprop"}, "0.006"),
        ({"lr": 0.0021, "optimizer": "rmsprop"}, None),
        ({"lr": 0.001, "optimizer": "sgd"}, None),
    ],
)
def test_a_low_rate_is_raised_if_the_losses_fell_to_the_end(options, advised):
    warnings = warnings_of(SLOWLY, SLOWLY, **options)
    if advised is None:
        assert warnings == []
    else:
        assert warnings == [
            f"the learning rate is low: at {options['lr']:g} the training loss still fell from "
            "4.040 to 3.895 bits per character in the second half of the run; "
            f"`lr={advised}` would help"
        ]


@pytest.mark.parametrize(("every", "advised"), [(100, True), (800, False), (4000, False)])
def test_a_long_run_can_use_lower_rates_only(every, advised):
    evaluations = evaluations_of(SLOWLY, SLOWLY, every)
    warnings = find_warnings(evaluations, TrainConfig(lr=0.015), ModelConfig(), "character")
    assert bool(warnings) == advised
    assert len(find_warnings(evaluations, TrainConfig(lr=0.001), ModelConfig(), "character")) == 1


@pytest.mark.parametrize(
    ("train_losses", "val_losses"),
    [
        ((3.0, 2.9, 2.80, 2.79, 2.78, 2.77), SLOWLY),  # the training loss fell by 1.1 %
        (SLOWLY, (3.0, 2.9, 2.80, 2.79, 2.78, 2.77)),
        (SLOWLY, (3.0, 2.9, 2.8, 2.75, 2.9, 2.85)),  # it rose again
    ],
)
def test_a_low_rate_is_not_raised_if_the_run_was_done(train_losses, val_losses):
    assert warnings_of(train_losses, val_losses, lr=0.002) == []


RISING = (2.0, 1.8, 1.6, 1.6, 1.7, 1.9), (2.1, 1.9, 1.8, 1.9, 2.0, 2.2)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_a_rate_is_lowered_if_both_losses_rose(optimizer):
    assert warnings_of(*RISING, optimizer=optimizer, lr=0.03) == [
        "the learning rate is too high: since step 300 the training loss rose from 2.308 to 2.741 "
        "bits per character, and the validation loss from 2.597 to 3.174; try `lr=0.01`"
    ]


@pytest.mark.parametrize(
    ("cell", "lr", "advised"),
    [
        ("lstm", 0.21, "0.07"),
        ("lstm", 0.2, None),
        ("gru", 0.06, "0.02"),
        ("gru", 0.05, None),
        ("rnn", 0.3, None),
    ],
)
def test_a_very_high_rate_of_adam_is_lowered(cell, lr, advised):
    falling = (1.5, 1.5, 1.49, 1.48)
    sentence = "the learning rate is too high: above {} a lower rate reaches a lower loss in nearly"
    sentence = sentence.format({"lstm": 0.2, "gru": 0.05}.get(cell))
    sentence += f" all runs, and it was {lr:g}; try `lr={advised}`"
    expected = [] if advised is None else [sentence]
    assert warnings_of(falling, falling, cell=cell, lr=lr) == expected
    assert warnings_of(falling, falling, cell=cell, lr=lr, optimizer="rmsprop") == []


NAN = float("nan")


@pytest.mark.parametrize(
    "losses",
    [(), (2.0,), (NAN,), (NAN, NAN), (NAN, NAN, NAN, NAN), (2.0, NAN, NAN, NAN), (2.0, 2.0)],
)
def test_too_few_or_broken_evaluations_get_no_warning(losses):
    for lr in (0.001, 0.1):
        assert warnings_of(losses, losses, lr=lr) == []


def test_a_schedule_that_has_lowered_the_rate_is_no_reason_to_raise_it():
    """With plateau the rate falls when the validation loss does not: nothing fell to the end."""
    losses = (3.0, 2.5, 2.2, 2.19, 2.19, 2.19)
    assert warnings_of(losses, losses, schedule="plateau", lr=0.01) == []


def test_a_resumed_run_is_judged_by_all_its_evaluations_and_its_new_end():
    """The first 600 of 1,200 steps; the run went on with another distance of evaluations."""
    first = evaluations_of(STEEP, STEEP)
    rest = [Evaluation(900, 1.7, 1.7), Evaluation(1200, 1.5, 1.5)]
    (warning,) = find_warnings(
        first + rest, TrainConfig(steps=1200, lr=0.1), ModelConfig(), "character"
    )
    assert "from step 600 to 1,200" in warning and warning.endswith("; `steps=2400` would help")


def test_a_finetuned_run_that_has_little_to_learn_keeps_its_low_rate():
    losses = (1.42, 1.415, 1.41, 1.41, 1.405, 1.40)  # falls by 0.7 % over the second half
    assert warnings_of(losses, losses, lr=0.0005) == []


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
    steps = {"200 kB of Shakespeare, no options": 4_600, "1 MB of Shakespeare, 2,500 steps": 2_500}
    train_losses, val_losses = MEASURED[name]
    every = steps.get(name, 5_000) // 10
    evaluations = evaluations_of(train_losses, val_losses, every)
    assert find_warnings(evaluations, TrainConfig(lr=0.02), ModelConfig(), "character") == []


def test_a_run_that_is_far_too_short_gets_a_warning_although_its_learning_rate_fell():
    """500 steps on corpora/play.txt, whose entropy is 0.43 nats per character."""
    (warning,) = warnings_of(
        (3.4175, 2.5999, 2.1107, 1.8718, 1.6783, 1.5498, 1.4617, 1.3872, 1.3393, 1.3156),
        (3.1133, 2.2357, 1.9084, 1.7018, 1.5399, 1.4154, 1.3348, 1.2800, 1.2524, 1.2425),
        steps=500,
    )
    assert "from 2.222 to 1.793 bits per character; `steps=1000` would help" in warning
